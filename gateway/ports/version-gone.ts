import { Refusal } from "../../actors/messages/errors.ts";

/** The version that was being read is not the file's any more, and its chunks are gone or cannot be found. */
export class VersionGone extends Refusal {
  constructor(path: string) {
    super("DATA_UNAVAILABLE", `"${path}" was replaced or deleted while it was read`, { path });
  }
}
