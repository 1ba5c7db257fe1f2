// What happened, newest first.
import { useState } from "preact/hooks";
import { useCell } from "./cell";
import { events, missed } from "./store";
import { clock, plural } from "./words";

const SHOWN = 200;

/** Events that are news of trouble. */
const TROUBLE = /fail|lost|retry|stall|drop|refus|skip|error|missed|black|silent|frozen|behind|not_/;

export function Events({ stream }: { stream?: string }) {
  const all = useCell(events);
  const lost = useCell(missed);
  const [text, setText] = useState("");
  const wanted = text.toLowerCase();
  const shown = all
    .filter((event) => stream === undefined || event.stream === stream)
    .filter((event) => wanted === "" || `${event.text} ${event.event} ${event.label ?? ""}`.toLowerCase().includes(wanted))
    .slice(-SHOWN)
    .reverse();
  return (
    <section class="card" aria-labelledby="events">
      <div class="heading">
        {stream === undefined ? <h1 id="events">Events</h1> : <h2 id="events">Events</h2>}
        <span class="push" />
        <input type="search" aria-label="Find in the events" placeholder="Find" value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </div>
      {lost > 0 && <p class="problem">{plural(lost, "event")} did not get here.</p>}
      {shown.length === 0 && <p class="quiet">Nothing has happened yet.</p>}
      <ol class="log">
        {shown.map((event) => (
          <li key={event.id} class={TROUBLE.test(event.event) ? "trouble" : ""}>
            <time dateTime={event.at}>{clock(event.at)}</time>{" "}
            {stream === undefined && event.stream && <a href={`#/streams/${event.stream}`}>{event.label || event.stream}</a>}{" "}
            {event.output && <strong>{event.output_label || event.output} </strong>}
            {event.text}
          </li>
        ))}
      </ol>
    </section>
  );
}

export function EventsView() {
  return <main><Events /></main>;
}
