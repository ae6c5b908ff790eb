/** The same for all masters that share the secret, so that a new group agrees on it without asking. */
export const clusterIdOf = (secret: string): string =>
  new Bun.CryptoHasher("sha256", secret).update("cluster id").digest("hex").slice(0, 32);
