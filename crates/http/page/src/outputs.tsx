// The outputs of a stream: how each is, added and removed on the air.
import { useState } from "preact/hooks";
import { ask } from "./api";
import { Act, Confirm, Dialog, Field, State } from "./parts";
import { say } from "./store";
import type { Health, OutputStats } from "./types";
import { bitRate, bytes, clock, lag } from "./words";

const PHASES: Record<string, [Health | "idle", string]> = {
  live: ["good", "on the air"],
  connecting: ["fair", "connecting"],
  waiting: ["fair", "waiting"],
  resting: ["bad", "resting"],
  ended: ["idle", "ended"],
};

export function Outputs({ id, outputs }: { id: string; outputs: OutputStats[] }) {
  const [isAdding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<OutputStats | null>(null);
  const shown = outputs.filter((output) => output.transport !== "player");
  return (
    <section class="card" aria-labelledby="outputs">
      <div class="heading">
        <h2 id="outputs">Outputs</h2>
        <span class="push" />
        <button type="button" onClick={() => setAdding(true)}>Add an output</button>
      </div>
      {shown.length === 0
        ? <p class="quiet">It goes nowhere.</p>
        : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th>State</th><th>Where to</th><th class="number">Rate</th><th class="number">Sent</th><th class="number">Lag</th>
                  <th class="number">Drops</th><th class="number">Reconnects</th><th><span class="hidden">Actions</span></th>
                </tr>
              </thead>
              <tbody>
                {shown.map((output) => {
                  const [health, word] = output.removed ? ["idle" as const, "removed"] : PHASES[output.phase] ?? ["idle", output.phase];
                  return (
                    <tr key={output.id}>
                      <td><State health={health} word={word} /></td>
                      <td class="where">
                        <span>{output.label && <strong>{output.label} </strong>}{output.name}</span>
                        {output.last_error && (
                          <small class={output.phase === "live" ? "quiet" : "problem"}>
                            {clock(output.last_error.at)} {output.last_error.message}
                          </small>
                        )}
                      </td>
                      <td class="number">{bitRate(output.bit_rate)}</td>
                      <td class="number">{bytes(output.bytes_sent)}</td>
                      <td class="number">{lag(output.lag_seconds)}</td>
                      <td class="number">{output.drops}</td>
                      <td class="number">{output.reconnects}</td>
                      <td class="acts">
                        {output.backup_of === null && !output.removed && (
                          <button type="button" aria-label={`Remove ${output.label ?? output.name}`} onClick={() => setRemoving(output)}>
                            Remove
                          </button>
                        )}
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </div>
        )}
      {isAdding && <Adding id={id} close={() => setAdding(false)} />}
      {removing && (
        <Confirm
          title="Remove this output?"
          text={`${removing.label ?? removing.name} ends; the others go on.`}
          yes="Remove it"
          close={() => setRemoving(null)}
          act={async () => {
            await ask("DELETE", `streams/${id}/outputs/${removing.id}`);
            say("The output was removed.");
          }}
        />
      )}
    </section>
  );
}

function Adding({ id, close }: { id: string; close: () => void }) {
  const [draft, setDraft] = useState<OutputDraft>(EMPTY);
  return (
    <Dialog title="Add an output" close={close}>
      <OutputForm draft={draft} change={setDraft} />
      <footer>
        <button type="button" onClick={close}>Cancel</button>
        <Act
          kind="primary"
          disabled={!isComplete(draft)}
          act={async () => {
            await ask("POST", `streams/${id}/outputs`, asOutput(draft));
            say("The output was added. It begins with the next keyframe.");
            close();
          }}
        >
          Add it
        </Act>
      </footer>
    </Dialog>
  );
}

// An output as a person describes it.

export interface OutputDraft {
  kind: "url" | "record" | "publish" | "hls";
  to: string;
  key: string;
  label: string;
}

export const EMPTY: OutputDraft = { kind: "url", to: "", key: "", label: "" };

export const isComplete = (draft: OutputDraft): boolean => draft.to.trim() !== "";

/** As the API takes it. */
export function asOutput({ kind, to, key, label }: OutputDraft): Record<string, unknown> {
  const output: Record<string, unknown> = {};
  if (kind === "url" && key !== "") Object.assign(output, { server: to.trim(), key: key.trim() });
  else output[kind] = to.trim();
  if (label.trim() !== "") output.label = label.trim();
  return output;
}

const KINDS: [OutputDraft["kind"], string, string, string][] = [
  ["url", "Push to a server", "Address", "rtmp://host/app, rtmps://, srt://, udp:// and others"],
  ["record", "Record to a file", "File on the server", "show.mp4, .flv, .mkv or .ts"],
  ["publish", "For players of this server", "Name", "They ask for rtmp://this-host/live/NAME"],
  ["hls", "HLS in a directory", "Directory on the server", "A web server serves it"],
];

export function OutputForm({ draft, change }: { draft: OutputDraft; change: (draft: OutputDraft) => void }) {
  const [, , label, hint] = KINDS.find(([kind]) => kind === draft.kind)!;
  return (
    <div class="form">
      <Field label="What">
        <select value={draft.kind} onChange={(event) => change({ ...draft, kind: event.currentTarget.value as OutputDraft["kind"] })}>
          {KINDS.map(([kind, name]) => <option key={kind} value={kind}>{name}</option>)}
        </select>
      </Field>
      <Field label={label} hint={hint}>
        <input value={draft.to} spellcheck={false} onInput={(event) => change({ ...draft, to: event.currentTarget.value })} />
      </Field>
      {draft.kind === "url" && (
        <Field label="Stream key" hint="If the address does not have it already. It is shown nowhere afterwards.">
          <input type="password" autocomplete="off" value={draft.key} onInput={(event) => change({ ...draft, key: event.currentTarget.value })} />
        </Field>
      )}
      <Field label="Label" hint="What it is called here; may be empty">
        <input value={draft.label} onInput={(event) => change({ ...draft, label: event.currentTarget.value })} />
      </Field>
    </div>
  );
}
