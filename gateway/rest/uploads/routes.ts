/** Uploads that outlive connections: open, append at an offset, complete or abort, in a form of our own and in tus. */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import type { Gateway } from "../../http/context.ts";
import { abortUpload } from "./abort-upload.ts";
import { appendToUpload } from "./append-to-upload.ts";
import { completeUpload } from "./complete-upload.ts";
import { openUpload } from "./open-upload.ts";
import { tusCapabilities } from "./tus.ts";
import { uploadStatus } from "./upload-status.ts";

export const resumableUploads = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS)
    .use(openUpload(gateway))
    .use(uploadStatus(gateway))
    .use(appendToUpload(gateway))
    .use(completeUpload(gateway))
    .use(abortUpload(gateway))
    .use(tusCapabilities());
