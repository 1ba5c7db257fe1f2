// A new stream: described by a form or as JSON, looked at before it is started; now, or when the calendar says.
import { useState } from "preact/hooks";
import { ask } from "./api";
import { Act, Field } from "./parts";
import { EMPTY, OutputForm, asOutput, isComplete, type OutputDraft } from "./outputs";
import { refresh, say } from "./store";

interface Draft {
  kind: "file" | "playlist" | "published" | "pull";
  what: string;
  isLooped: boolean;
  isShuffled: boolean;
  label: string;
  owner: string;
  outputs: OutputDraft[];
}

const KINDS: [Draft["kind"], string, string, string][] = [
  ["file", "A file", "File on the server", "rain.mp4"],
  ["playlist", "A playlist", "Files on the server, one a line; or one directory", "intro.mp4"],
  ["published", "What somebody publishes", "The name that is published", "studio"],
  ["pull", "What another server has", "Address", "rtmp://host/app/name"],
];

const START: Draft = {
  kind: "file", what: "", isLooped: true, isShuffled: false, label: "", owner: "", outputs: [{ ...EMPTY, kind: "publish" }],
};

/** As the API takes it. */
function asSpec(draft: Draft): Record<string, unknown> {
  const source: Record<string, unknown> = {};
  const lines = draft.what.split("\n").map((line) => line.trim()).filter(Boolean);
  if (draft.kind === "playlist") {
    const only = lines.length === 1 ? lines[0]! : null;
    const list = only !== null && !/\.[a-z0-9]{2,4}$/i.test(only) ? { dir: only } : only?.match(/\.m3u8?$/i) ? { m3u: only } : { files: lines };
    source.playlist = { ...list, ...(draft.isShuffled && { shuffled: true }), ...(!draft.isLooped && { once: true }) };
  } else {
    source[draft.kind] = draft.what.trim();
    if (draft.kind === "file" && draft.isLooped) source.looped = true;
  }
  const spec: Record<string, unknown> = { source };
  const outputs = draft.outputs.filter(isComplete).map(asOutput);
  if (outputs.length > 0) spec.outputs = outputs;
  else spec.without_outputs = true;
  if (draft.label.trim() !== "") spec.label = draft.label.trim();
  if (draft.owner.trim() !== "") spec.owner = draft.owner.trim();
  return spec;
}

interface Verdict {
  platform: string;
  action: string;
  reasons: { severity: string; detail: string }[];
}

const ACTIONS: Record<string, string> = {
  copy: "it takes the file as it is.",
  copyWithFix: "it takes the file as it is, with a fix on the way.",
  copyVideoEncodeAudio: "the sound has to be encoded.",
  encodeVideoCopyAudio: "the picture has to be encoded.",
  encode: "picture and sound have to be encoded, or the file cannot be sent.",
};

/** Every week on these days, from a time of day to another one, in the time of a zone. */
interface Window {
  zone: string;
  days: string[];
  from: string;
  to: string;
}

const DAYS: [string, string][] = [
  ["mon", "Monday"], ["tue", "Tuesday"], ["wed", "Wednesday"], ["thu", "Thursday"], ["fri", "Friday"], ["sat", "Saturday"], ["sun", "Sunday"],
];

function asWhen({ zone, days, from, to }: Window): unknown {
  return { zone: zone.trim(), windows: [{ ...(days.length < DAYS.length && { days }), from, to }] };
}

export function New({ isScheduled = false, isShared = false }: { isScheduled?: boolean; isShared?: boolean }) {
  const [draft, setDraft] = useState<Draft>(START);
  const [when, setWhen] = useState<Window>({
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone, days: DAYS.map(([day]) => day), from: "20:00", to: "23:00",
  });
  const [name, setName] = useState("");
  const [labels, setLabels] = useState("");
  const [json, setJson] = useState<string | null>(null);
  const [said, setSaid] = useState<{ text: string; isBad: boolean }[]>([]);
  const change = (part: Partial<Draft>) => setDraft({ ...draft, ...part });
  const [, , label, example] = KINDS.find(([kind]) => kind === draft.kind)!;
  const spec = (): unknown => {
    if (json === null) return asSpec(draft);
    try {
      return JSON.parse(json);
    } catch (error) {
      throw new Error(`This is no JSON: ${error instanceof Error ? error.message : error}`);
    }
  };
  const check = async () => {
    const wanted = spec() as { source?: { file?: string } };
    const found: typeof said = [];
    const forecast = await ask<{ allowed: boolean; reason: string | null; needs: { cpu: number } | null }>("POST", "admission", wanted);
    found.push({ text: forecast.allowed ? "There is room for it." : forecast.reason ?? "There is no room for it.", isBad: !forecast.allowed });
    if (forecast.needs) found.push({ text: `It is expected to use ${(forecast.needs.cpu * 100).toFixed(1)} % of a core.`, isBad: false });
    const file = wanted.source?.file;
    if (file) {
      const { verdicts } = await ask<{ verdicts: Verdict[] }>("POST", "verdict", { path: file, platforms: ["youtube", "twitch"] });
      for (const verdict of verdicts) found.push(...sentences(verdict));
    }
    setSaid(found);
  };
  return (
    <main class="narrow">
      <div class="heading">
        <h1>{isScheduled ? "New schedule" : isShared ? "New stream on any node" : "New stream"}</h1>
        <span class="push" />
        <button
          type="button"
          aria-pressed={json !== null}
          onClick={() => setJson(json === null ? JSON.stringify(asSpec(draft), null, 2) : null)}
        >
          {json === null ? "As JSON" : "As a form"}
        </button>
      </div>
      {isShared && (
        <section class="card form" aria-label="Where it runs">
          <h2>Where it runs</h2>
          <Field label="Name in the cluster" hint="No two streams of the cluster have the same. One of this name is replaced">
            <input spellcheck={false} value={name} onInput={(event) => setName(event.currentTarget.value)} />
          </Field>
          <Field label="Only on nodes with these labels" hint="Separated by commas; may be empty">
            <input spellcheck={false} value={labels} onInput={(event) => setLabels(event.currentTarget.value)} />
          </Field>
        </section>
      )}
      {json !== null
        ? (
          <section class="card">
            <Field label="The stream as data" hint="All that a stream can be made of: see docs/jobs">
              <textarea rows={20} spellcheck={false} class="code" value={json} onInput={(event) => setJson(event.currentTarget.value)} />
            </Field>
          </section>
        )
        : (
          <>
            <section class="card form" aria-label="Source">
              <h2>What it plays</h2>
              <Field label="Source">
                <select value={draft.kind} onChange={(event) => change({ kind: event.currentTarget.value as Draft["kind"] })}>
                  {KINDS.map(([kind, name]) => <option key={kind} value={kind}>{name}</option>)}
                </select>
              </Field>
              <Field label={label}>
                {draft.kind === "playlist"
                  ? <textarea rows={5} spellcheck={false} placeholder={example} value={draft.what} onInput={(event) => change({ what: event.currentTarget.value })} />
                  : <input spellcheck={false} placeholder={example} value={draft.what} onInput={(event) => change({ what: event.currentTarget.value })} />}
              </Field>
              {(draft.kind === "file" || draft.kind === "playlist") && (
                <label class="check">
                  <input type="checkbox" checked={draft.isLooped} onChange={(event) => change({ isLooped: event.currentTarget.checked })} />
                  Goes round until it is stopped
                </label>
              )}
              {draft.kind === "playlist" && (
                <label class="check">
                  <input type="checkbox" checked={draft.isShuffled} onChange={(event) => change({ isShuffled: event.currentTarget.checked })} />
                  In random order
                </label>
              )}
              <Field label="Label" hint="What it is called here; may be empty">
                <input value={draft.label} onInput={(event) => change({ label: event.currentTarget.value })} />
              </Field>
              <Field label="Owner" hint="For limits per owner; may be empty">
                <input value={draft.owner} onInput={(event) => change({ owner: event.currentTarget.value })} />
              </Field>
            </section>
            {draft.outputs.map((output, place) => (
              <section key={place} class="card" aria-label={`Output ${place + 1}`}>
                <div class="heading">
                  <h2>Output {place + 1}</h2>
                  <span class="push" />
                  <button type="button" onClick={() => change({ outputs: draft.outputs.toSpliced(place, 1) })}>Leave it out</button>
                </div>
                <OutputForm draft={output} change={(changed) => change({ outputs: draft.outputs.with(place, changed) })} />
              </section>
            ))}
            <p><button type="button" onClick={() => change({ outputs: [...draft.outputs, EMPTY] })}>Add an output</button></p>
          </>
        )}
      {isScheduled && <WhenForm when={when} change={setWhen} />}
      {said.length > 0 && (
        <ul class="said" aria-live="polite">
          {said.map(({ text, isBad }, place) => <li key={place} class={isBad ? "problem" : ""}>{text}</li>)}
        </ul>
      )}
      <footer class="tools">
        <Act act={check}>Check</Act>
        {isScheduled
          ? (
            <Act
              kind="primary"
              disabled={when.days.length === 0}
              act={async () => {
                await ask("POST", "schedules", { stream: spec(), when: asWhen(when) });
                say("It is scheduled.");
                location.hash = "#/schedules";
              }}
            >
              Schedule it
            </Act>
          )
          : isShared
          ? (
            <Act
              kind="primary"
              disabled={name.trim() === ""}
              act={async () => {
                const wanted = labels.split(",").map((label) => label.trim()).filter(Boolean);
                await ask("PUT", `cluster/streams/${encodeURIComponent(name.trim())}`, { stream: spec(), labels: wanted });
                say("A node takes it.");
                location.hash = "#/cluster";
              }}
            >
              Have it run
            </Act>
          )
          : (
            <Act
              kind="primary"
              act={async () => {
                const { id } = await ask<{ id: string }>("POST", "streams", spec());
                say("The stream runs.");
                void refresh();
                location.hash = `#/streams/${id}`;
              }}
            >
              Start it
            </Act>
          )}
      </footer>
    </main>
  );
}

function WhenForm({ when, change }: { when: Window; change: (when: Window) => void }) {
  const toggle = (day: string) => {
    const days = when.days.includes(day) ? when.days.filter((of) => of !== day) : [...when.days, day];
    change({ ...when, days: DAYS.map(([of]) => of).filter((of) => days.includes(of)) });
  };
  return (
    <section class="card form" aria-label="When it runs">
      <h2>When it runs</h2>
      <fieldset class="days">
        <legend>Days</legend>
        {DAYS.map(([day, name]) => (
          <label key={day} class="check">
            <input type="checkbox" checked={when.days.includes(day)} onChange={() => toggle(day)} />
            {name}
          </label>
        ))}
      </fieldset>
      <Field label="From">
        <input type="time" required value={when.from} onInput={(event) => change({ ...when, from: event.currentTarget.value })} />
      </Field>
      <Field label="Until" hint="Before the time it begins: on the day after">
        <input type="time" required value={when.to} onInput={(event) => change({ ...when, to: event.currentTarget.value })} />
      </Field>
      <Field label="Time zone">
        <input spellcheck={false} value={when.zone} onInput={(event) => change({ ...when, zone: event.currentTarget.value })} />
      </Field>
    </section>
  );
}

/** What a verdict says, as sentences. */
function sentences({ platform, action, reasons }: Verdict): { text: string; isBad: boolean }[] {
  const sum = { text: `${platform}: ${ACTIONS[action] ?? action}`, isBad: action === "encode" };
  const why = reasons
    .filter((reason) => reason.severity !== "info")
    .map((reason) => ({ text: `${platform}: ${reason.detail}`, isBad: reason.severity === "error" }));
  return [sum, ...why];
}
