/** One core's share of `bun run simulate`: lives one seed after the other, as it is told. */
import { type BegunRun, type Failure, type Run, simulateRaft } from "./simulate-raft.ts";
import { answerOrders } from "./thread-report.ts";

answerOrders<number, BegunRun, Run | Failure>((seed, begins) => simulateRaft(seed, { begins }));
