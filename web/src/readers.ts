/** The pages of a reader study: keys, answers that are kept at once, and the times they took. */

const RETRY_MS = [300, 700, 1500, 3000];
let begun = performance.now();
let busy = false;

function one<T extends Element>(selector: string, root: ParentNode = document): T | null {
  return root.querySelector<T>(selector);
}

/** Waits for the pictures of a new case; until they are shown, no time passes. */
function beginClock(): void {
  begun = performance.now();
  const viewers = [...document.querySelectorAll("rm-viewer")];
  for (const viewer of viewers) {
    viewer.addEventListener("rm-ready", () => (begun = performance.now()), { once: true });
  }
}

/** Replaces what differs: the pictures stay while their questions go on. */
function show(text: string): void {
  const page = one<HTMLElement>("#page");
  if (page === null) return;
  const next = new DOMParser().parseFromString(text, "text/html").body;
  const before = one<HTMLElement>("#pictures");
  const after = one<HTMLElement>("#pictures", next);
  if (before !== null && after !== null && before.dataset.shown === after.dataset.shown) {
    for (const id of ["#top", "#panel"]) {
      const [old, fresh] = [one(id), one(id, next)];
      if (old !== null && fresh !== null) old.replaceWith(fresh);
    }
    begun = performance.now();
  } else {
    page.replaceChildren(...next.childNodes);
    beginClock();
  }
  focusFirst();
}

function focusFirst(): void {
  const target = one<HTMLElement>("#question input[type=radio]") ?? one<HTMLElement>("#panel button");
  target?.focus({ preventScroll: true });
}

function say(words: string): void {
  const place = one<HTMLElement>("#saving");
  if (place !== null) place.textContent = words;
}

/** Sends a form until the server has it; the same answer twice is kept once. */
async function send(form: HTMLFormElement): Promise<void> {
  if (busy) return;
  busy = true;
  const took = one<HTMLInputElement>("[name=client_ms]", form);
  if (took !== null) took.value = String(Math.round(performance.now() - begun));
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(form)) fields.append(name, String(value));
  try {
    for (let attempt = 0; ; attempt++) {
      const answer = await fetch(form.action, { method: "POST", body: fields }).catch(() => null);
      if (answer !== null && (answer.ok || answer.status === 409)) {
        say("");
        show(await answer.text());
        return;
      }
      if (answer !== null && answer.status < 500) {
        window.location.assign("/");
        return;
      }
      say("Not kept yet: the server does not answer. Trying again …");
      const wait = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  } finally {
    busy = false;
  }
}

function choose(digit: number): void {
  const options = document.querySelectorAll<HTMLInputElement>("#question input[type=radio]");
  const option = options[digit - 1];
  if (option === undefined || busy) return;
  option.checked = true;
  option.focus({ preventScroll: true });
}

document.addEventListener("submit", (event) => {
  const form = event.target as HTMLFormElement;
  if (!["/answers", "/go-on", "/back"].includes(new URL(form.action).pathname)) return;
  event.preventDefault();
  void send(form);
});

document.addEventListener("keydown", (event) => {
  const form = one<HTMLFormElement>("#question");
  if (form === null || event.ctrlKey || event.altKey || event.metaKey) return;
  // Inside a viewer, too, keys belong to what has the focus.
  const focused = event.composedPath()[0] as Element;
  if (focused.closest("button, a, select, input:not([type=radio])") !== null) return;
  if (/^[1-9]$/.test(event.key)) {
    event.preventDefault();
    choose(Number(event.key));
  } else if (event.key === "Enter" && !event.repeat) {
    event.preventDefault();
    form.requestSubmit();
  }
});

const display = one<HTMLFormElement>("#display");
if (display !== null) {
  const facts = { width: screen.width, height: screen.height, ratio: devicePixelRatio.toFixed(2) };
  for (const [name, value] of Object.entries(facts)) {
    const field = one<HTMLInputElement>(`[name=${name}]`, display);
    if (field !== null) field.value = String(value);
  }
}
beginClock();
focusFirst();
