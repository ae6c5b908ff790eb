/** An action that a machine names and only its host can carry out: throws until `machine.provide` replaces it. */
export const suppliedByHost = (name: string) => (): void => {
  throw new Error(`${name} must be supplied by the host`);
};
