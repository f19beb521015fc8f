/** Requests to the studio's server. */

const token = (): string =>
  document.querySelector<HTMLMetaElement>('meta[name="token"]')?.content ?? "";

/** Returns what the server answers; with a body, the request is a change. */
export async function api<T>(path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { credentials: "same-origin" };
  if (body !== undefined) {
    init.method = "POST";
    init.headers = { "Content-Type": "application/json", "x-csrftoken": token() };
    init.body = JSON.stringify(body);
  }
  return answered<T>(await fetch(path, init));
}

/** Sends a file to the server, which keeps it until it ends. */
export async function drop(file: File): Promise<{ id: string; name: string }> {
  const headers = {
    "Content-Type": "application/octet-stream",
    "x-csrftoken": token(),
    "x-name": encodeURIComponent(file.name),
  };
  return answered(await fetch("/drop", { method: "POST", headers, body: file }));
}

async function answered<T>(answer: Response): Promise<T> {
  if (answer.ok) return (await answer.json()) as T;
  throw new Error(await refusal(answer));
}

/** Returns the one line in which a server says why it refuses. */
export async function refusal(answer: Response): Promise<string> {
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.getElementById("message")?.textContent || `The server answered ${answer.status}.`;
}
