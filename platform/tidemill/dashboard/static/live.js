// Refreshes the parts of a page that are marked with data-live when the server says that they have changed.
// A part in which somebody types, or has opened something, waits until they have left it.
(() => {
  "use strict";
  const waiting = new Set();

  const say = (words) => {
    const note = document.getElementById("live-note");
    if (note) note.textContent = words;
  };

  const busy = (part) => {
    const here = document.activeElement;
    return part.contains(here) && here.matches("input, select, textarea, button, summary, a")
      || part.querySelector("details[open]") !== null;
  };

  // One after the other: a second request from a part that still waits for its first would be dropped.
  let last = Promise.resolve();
  const refresh = (part) => { last = last.then(() => fetchAgain(part.id)).catch((error) => console.warn(error)); };

  const fetchAgain = async (id) => {
    const part = document.getElementById(id); // an earlier answer may have replaced it
    if (!part) return;
    if (busy(part)) { waiting.add(part.id); return; }
    waiting.delete(part.id);
    const before = part.textContent;
    const top = window.scrollY;
    await htmx.ajax("GET", location.pathname + location.search, {
      target: `#${part.id}`, select: `#${part.id}`, swap: "outerHTML", source: part,
    });
    window.scrollTo({ top, behavior: "instant" });
    const after = document.getElementById(part.id);
    if (after && after.textContent !== before) say(`Updated at ${new Date().toISOString().slice(11, 19)} UTC`);
  };

  // An answer that is another page, such as a login or an error, has no such part: what is shown stays.
  document.addEventListener("htmx:before:response", (event) => {
    const { raw, status } = event.detail.ctx.response;
    if (status === 200 && !raw.redirected) return;
    event.preventDefault();
    say(raw.redirected || status === 401
      ? "Not updated: your session has ended. Load the page again to log in"
      : `Not updated: the server answered ${status}. Load the page again`);
  });

  const hear = (topic, model) => {
    for (const part of document.querySelectorAll("[data-live][id]")) {
      const topics = part.dataset.live.split(" ");
      const of = part.dataset.model;
      if (!topics.includes(topic) || (of && model && of !== model)) continue;
      if ("reload" in part.dataset) { location.reload(); return; }
      refresh(part);
    }
  };

  document.addEventListener("focusout", () => setTimeout(() => {
    for (const id of [...waiting]) {
      const part = document.getElementById(id);
      if (part) refresh(part); else waiting.delete(id);
    }
  }, 1000));

  const listen = () => {
    const events = new EventSource("/events");
    events.addEventListener("changed", (event) => {
      const { topic, model } = JSON.parse(event.data);
      hear(topic, model);
    });
    events.addEventListener("error", () => {
      if (events.readyState !== EventSource.CLOSED) return; // it asks again by itself
      say("Not updated any more. Load the page again");
      setTimeout(listen, 30000);
    });
    window.addEventListener("pagehide", () => events.close());
  };

  if (document.querySelector("[data-live][id]")) {
    listen();
    if (document.querySelector("[data-reload]")) setTimeout(() => location.reload(), 20000); // no event came
  }
})();
