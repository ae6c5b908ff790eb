import { dismiss, notices } from "../announce.ts";
import { Icon } from "./icon.tsx";

/** Sentences in a corner, and a live region that reads them out. */
export const Notices = () => (
  <div class="notices" role="status" aria-live="polite">
    {notices.value.map(({ id, kind, text }) => (
      <div key={id} class={`notice ${kind}`}>
        <Icon name={kind === "done" ? "check" : "warn"} />
        <span>{text}</span>
        <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => dismiss(id)}>
          <Icon name="close" />
        </button>
      </div>
    ))}
  </div>
);
