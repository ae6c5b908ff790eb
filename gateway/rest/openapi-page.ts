/** Writes the OpenAPI document as one plain HTML page: no script, nothing loaded from anywhere. */
import type { OpenApiDocument, Operation } from "./openapi-document.ts";

const html = (text: string): string => Bun.escapeHTML(text);

const STYLE = `
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow: auto; padding: .5rem; border: 1px solid #8884; max-height: 24rem }
details { border-top: 1px solid #8884; padding: .5rem 0 }
summary { cursor: pointer }
.verb { display: inline-block; min-width: 5rem; font-weight: 700 }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0 }
`;

export function openApiPage(document: OpenApiDocument): string {
  const operations = Object.entries(document.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ path, verb, operation })),
  );
  const sections = [...Map.groupBy(operations, ({ operation }) => operation.tags[0] ?? "")].map(
    ([tag, members]) => `<h2>${html(tag)}</h2>${members.map(operationHtml).join("")}`,
  );
  const codes = Object.entries(document["x-error-codes"]).map(
    ([code, { status, next }]) =>
      `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${html(next)}</td></tr>`,
  );
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${html(document.info.title)}</title><style>${STYLE}</style>
<h1>${html(document.info.title)}</h1><p>${html(document.info.description)}
The same for programs: <a href="/openapi/json">/openapi/json</a>.</p>
${sections.join("\n")}
<h2>Codes</h2><table><tr><th>code</th><th>status</th><th>what to do</th></tr>${codes.join("")}</table></html>`;
}

function operationHtml({ path, verb, operation }: { path: string; verb: string; operation: Operation }): string {
  return `<details id="${html(operation.operationId)}"><summary><span class="verb">${verb.toUpperCase()}</span>
<code>${html(path)}</code> ${html(operation.summary)}</summary>
${operation.description ? `<p>${html(operation.description)}</p>` : ""}
${parametersHtml(operation.parameters)}
${operation.requestBody ? `<h4>Body</h4>${contentHtml(operation.requestBody.content)}` : ""}
<h4>Answers</h4>${Object.entries(operation.responses).map(responseHtml).join("")}</details>`;
}

function parametersHtml(parameters: Operation["parameters"]): string {
  if (parameters.length === 0) return "";
  const rows = parameters.map(
    ({ name, in: place, required, description = "" }) =>
      `<tr><td><code>${html(name)}</code></td><td>${place}${required ? ", required" : ""}</td><td>${html(description)}</td></tr>`,
  );
  return `<h4>Parameters</h4><table>${rows.join("")}</table>`;
}

const responseHtml = ([status, { description, content }]: [string, Operation["responses"][string]]): string =>
  Number(status) >= 400
    ? `<p><b>${status}</b> ${description
        .split(", ")
        .map((code) => `<a href="#${html(code)}">${html(code)}</a>`)
        .join(", ")}</p>`
    : `<p><b>${status}</b> ${html(description)}</p>${content ? contentHtml(content) : ""}`;

const contentHtml = (content: Record<string, { schema: object }>): string =>
  Object.entries(content)
    .map(([type, { schema }]) => `<code>${html(type)}</code><pre>${html(JSON.stringify(schema, null, 2))}</pre>`)
    .join("");
