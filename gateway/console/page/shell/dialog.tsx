/** A question before something that matters: the browser's own dialog, so focus and Escape work as everywhere. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface Question {
  title: string;
  body: ComponentChildren;
  /** What the button says that does it. */
  verb: string;
  isDangerous?: boolean;
  /** With a field: its first value. */
  field?: { label: string; value: string; select?: number };
  answer: (value: string | null) => void;
}

const open = signal<Question | null>(null);

/** @returns false if the person thought better of it */
export const confirmed = (question: Pick<Question, "title" | "body" | "verb" | "isDangerous">): Promise<boolean> =>
  new Promise((resolve) => {
    open.value = { ...question, answer: (value) => resolve(value !== null) };
  });

/** @returns null if the person thought better of it */
export const prompted = (
  question: Pick<Question, "title" | "body" | "verb"> & { field: NonNullable<Question["field"]> },
): Promise<string | null> =>
  new Promise((resolve) => {
    open.value = { ...question, answer: resolve };
  });

export function QuestionDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const question = open.value;
  useEffect(() => {
    if (!question) return;
    dialog.current?.showModal();
    if (question.field && field.current) {
      field.current.focus();
      field.current.setSelectionRange(0, question.field.select ?? question.field.value.length);
    }
  }, [question]);
  if (!question) return null;
  const close = (value: string | null): void => {
    open.value = null;
    question.answer(value);
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="dialog-title" onCancel={() => close(null)}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          close(field.current?.value ?? "");
        }}
      >
        <h2 id="dialog-title">{question.title}</h2>
        <div class="dialog-body">{question.body}</div>
        {question.field && (
          <label class="field">
            <span>{question.field.label}</span>
            <input ref={field} type="text" defaultValue={question.field.value} required autocomplete="off" />
          </label>
        )}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={() => close(null)}>
            Cancel
          </button>
          <button type="submit" class={`button ${question.isDangerous ? "danger" : "primary"}`}>
            {question.verb}
          </button>
        </div>
      </form>
    </dialog>
  );
}
