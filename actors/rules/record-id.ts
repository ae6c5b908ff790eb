/** The name of a record among those of all nodes: node, boot and number. */
export const recordId = ({ n, b, q }: { n: string; b: number; q: number }): string => `${n}/${b}/${q}`;
