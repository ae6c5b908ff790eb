/** Watches the processes of the launcher's nodes: says how each one ended, and starts it again if the plan says so. */
import type { LogFollower } from "./node-logs.ts";
import { describeEnding, type Ending, MOST_STARTS, planRestart } from "./restarts.ts";

export interface SupervisedNode {
  id: string;
  kind: string;
  logPath: string;
  process: Bun.Subprocess;
  log: LogFollower;
}

export interface SupervisorParts<Node extends SupervisedNode> {
  /** Starts a node's process again. */
  start(node: Node, args: string[]): Node;
  phase(): "starting" | "running" | "stopping";
  /** `restart` of config.json: nodes that end by themselves are started again. */
  restarts: boolean;
  /** The command with which a person starts this node. */
  commandFor(node: Node): string;
  say(line: string): void;
  /** Called when a node ended that the cluster needs to start. */
  failed(exitCode: number): void;
}

const WHY_NOT = {
  wanted: "",
  notCured: "It is not started again, because a restart does not cure this. ",
  crashLoop: `It was started ${MOST_STARTS} times in a row and ended soon each time: the launcher gives up. `,
};

export class Supervisor<Node extends SupervisedNode> {
  /** In the order of the configuration; the process of one that ended stays until it is started again. */
  readonly nodes: readonly Node[];
  readonly #nodes: Node[];
  readonly #parts: SupervisorParts<Node>;
  readonly #shortRuns = new Map<string, number>();
  readonly #waiting = new Map<string, Timer>();
  /** Nodes that a drill is about to end. */
  readonly #expected = new Set<string>();

  constructor(nodes: Node[], parts: SupervisorParts<Node>) {
    this.nodes = this.#nodes = nodes;
    this.#parts = parts;
    for (const node of nodes) this.#watch(node);
  }

  /** Announces that a drill ends this node, and will start it again. */
  expectEnd(id: string): void {
    this.#expected.add(id);
  }

  /**
   * Starts a node that is not running, without waiting for its planned restart.
   *
   * @returns false while everything stops
   */
  startAnew(id: string, args: string[]): boolean {
    const n = this.#nodes.findIndex((node) => node.id === id);
    const ended = this.#nodes[n];
    if (!ended || this.#parts.phase() === "stopping") return false;
    clearTimeout(this.#waiting.get(id));
    this.#waiting.delete(id);
    this.#expected.delete(id);
    const node = this.#parts.start(ended, args);
    this.#nodes[n] = node;
    this.#watch(node);
    return true;
  }

  /** Cancels all planned restarts. */
  stop(): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }

  #watch(node: Node): void {
    const startedAt = performance.now();
    void node.process.exited.then((exitCode) => {
      if (this.#parts.phase() === "stopping") return;
      node.log.stop();
      const ending = { exitCode, signal: node.process.signalCode?.toString() ?? null };
      this.#parts.say(`  ${node.id} ${describeEnding(ending)}. Its log: ${node.logPath}`);
      if (this.#parts.phase() === "starting" && node.kind !== "worker") this.#parts.failed(exitCode);
      else this.#goOnWithout(node, ending, performance.now() - startedAt);
    });
  }

  #goOnWithout(node: Node, ending: Ending, ranMs: number): void {
    const { id } = node;
    const { say, restarts, commandFor } = this.#parts;
    const byHand = `The others go on. To start it again: ${commandFor(node)}`;
    if (this.#expected.has(id) || !restarts) {
      say(`  ${byHand}`);
      return;
    }
    const plan = planRestart(ending, ranMs, this.#shortRuns.get(id) ?? 0);
    if (plan.kind === "none") {
      this.#shortRuns.delete(id);
      say(`  ${WHY_NOT[plan.because]}${byHand}`);
      return;
    }
    this.#shortRuns.set(id, plan.shortRuns);
    say(`  The others go on. ${id} is started again in ${plan.afterMs / 1000} s.`);
    this.#waiting.set(
      id,
      setTimeout(() => this.#restart(id, byHand), plan.afterMs),
    );
  }

  #restart(id: string, byHand: string): void {
    const { say } = this.#parts;
    try {
      if (this.startAnew(id, [])) say(`  ${id} was started again.`);
    } catch (error) {
      say(`  ${id} could not be started again: ${(error as Error).message}. ${byHand}`);
    }
  }
}
