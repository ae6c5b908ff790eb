/** A question before something that matters: the browser's own dialog, so focus and Escape work as everywhere. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { isStale } from "../silence.ts";
import { Icon } from "./icon.tsx";

interface Question {
  title: string;
  body: ComponentChildren;
  /** The text of the button that confirms. */
  verb: string;
  isDangerous?: boolean;
  /** With a field: its first value. */
  field?: {
    label: string;
    value: string;
    select?: number;
    /** Why the value is not taken, in words; null: it is. */
    problem?: (value: string) => string | null;
  };
  answer: (value: string | null) => void;
}

const open = signal<Question | null>(null);
/** What is wrong with the value that was sent; it goes when the person types on. */
const problem = signal<string | null>(null);

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

/** The subject of the question has left the page: an answer would be meant for something else. */
export function takeBackQuestion(): void {
  const question = open.peek();
  open.value = null;
  question?.answer(null);
}

export function QuestionDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const question = open.value;
  // Before the next key press: the keys that follow belong to the field, not to the view behind it.
  useLayoutEffect(() => {
    problem.value = null;
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
          const value = field.current?.value ?? "";
          problem.value = question.field?.problem?.(value) ?? null;
          if (problem.value === null) close(value);
          else field.current?.focus();
        }}
      >
        <h2 id="dialog-title">{question.title}</h2>
        <div class="dialog-body">{question.body}</div>
        {question.field && (
          <label class="field">
            <span>{question.field.label}</span>
            <input
              ref={field}
              type="text"
              defaultValue={question.field.value}
              required
              autocomplete="off"
              aria-invalid={problem.value !== null}
              aria-describedby={problem.value === null ? undefined : "dialog-problem"}
              onInput={() => {
                problem.value = null;
              }}
            />
          </label>
        )}
        {problem.value && (
          <p class="inline-problem" id="dialog-problem" role="alert">
            <Icon name="warn" /> {problem.value}
          </p>
        )}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={() => close(null)}>
            Cancel
          </button>
          <button
            type="submit"
            disabled={isStale.value}
            class={`button ${question.isDangerous ? "danger" : "primary"}`}
          >
            {question.verb}
          </button>
        </div>
      </form>
    </dialog>
  );
}
