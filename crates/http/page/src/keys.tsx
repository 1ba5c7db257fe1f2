// Keys: who may publish, and who may play. A key is shown once, when it is issued.
import { useEffect, useState } from "preact/hooks";
import { Problem, ask, get } from "./api";
import { Act, Confirm, Dialog, Field, State } from "./parts";
import { say, sayProblem } from "./store";
import type { KeyLine } from "./types";
import { day } from "./words";

interface Issued {
  name: string;
  key: string;
  play_token: string | null;
}

const PLAY: Record<string, string> = { public: "everybody", token: "who has the play token", nobody: "nobody" };

export function Keys() {
  const [keys, setKeys] = useState<KeyLine[] | null>(null);
  const [refused, setRefused] = useState("");
  const [isIssuing, setIssuing] = useState(false);
  const [issued, setIssued] = useState<Issued | null>(null);
  const [revoking, setRevoking] = useState<KeyLine | null>(null);
  const load = async () => {
    try {
      setKeys((await get<{ keys: KeyLine[] }>("keys")).keys);
    } catch (error) {
      if (error instanceof Problem && error.status === 403) setRefused(error.message);
      else sayProblem(error);
    }
  };
  useEffect(() => void load(), []);
  return (
    <main>
      <div class="heading">
        <h1>Keys</h1>
        <span class="push" />
        {!refused && <button type="button" class="primary" onClick={() => setIssuing(true)}>Issue a key</button>}
      </div>
      {refused && <p class="nothing card">{refused}</p>}
      {keys?.length === 0 && <p class="nothing card">Nobody may publish: there is no key.</p>}
      {keys && keys.length > 0 && (
        <section class="card scroll">
          <table>
            <thead>
              <tr><th>Name</th><th>State</th><th>Owner</th><th>Who may play</th><th>Expires</th><th><span class="hidden">Actions</span></th></tr>
            </thead>
            <tbody>
              {keys.map((key) => (
                <tr key={key.name}>
                  <td><strong>{key.name}</strong>{key.old_keys > 0 && <small> its old key is still accepted</small>}</td>
                  <td><State health={key.is_published ? "good" : "idle"} word={key.is_published ? "publishes" : "not used now"} /></td>
                  <td>{key.owner ?? "–"}</td>
                  <td>{PLAY[key.play] ?? key.play}</td>
                  <td>{key.expires ? day(key.expires) : "never"}</td>
                  <td class="acts"><button type="button" aria-label={`Revoke ${key.name}`} onClick={() => setRevoking(key)}>Revoke</button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {isIssuing && <Issuing close={() => setIssuing(false)} done={(key) => { setIssuing(false); setIssued(key); void load(); }} />}
      {issued && (
        <Dialog title={`The key of ${issued.name}`} close={() => setIssued(null)}>
          <p>It is shown this once. Who has it may publish as {issued.name}, to <code>rtmp://this-host/live</code>.</p>
          <Secret label="Stream key" text={issued.key} />
          {issued.play_token && <Secret label="Play token" text={issued.play_token} />}
          <footer><button type="button" class="primary" onClick={() => setIssued(null)}>I have it</button></footer>
        </Dialog>
      )}
      {revoking && (
        <Confirm
          title={`Revoke the key of ${revoking.name}?`}
          text={revoking.is_published ? "Who publishes with it is disconnected." : "It is accepted no more."}
          yes="Revoke it"
          close={() => setRevoking(null)}
          act={async () => {
            await ask("DELETE", `keys/${encodeURIComponent(revoking.name)}`);
            say(`The key of ${revoking.name} was revoked.`);
            await load();
          }}
        />
      )}
    </main>
  );
}

function Secret({ label, text }: { label: string; text: string }) {
  return (
    <Field label={label}>
      <span class="secret">
        <input readOnly value={text} onFocus={(event) => event.currentTarget.select()} />
        <Act act={async () => { await navigator.clipboard.writeText(text); say("Copied."); }}>Copy</Act>
      </span>
    </Field>
  );
}

function Issuing({ close, done }: { close: () => void; done: (key: Issued) => void }) {
  const [name, setName] = useState("");
  const [owner, setOwner] = useState("");
  const [play, setPlay] = useState("public");
  const [days, setDays] = useState("");
  return (
    <Dialog title="Issue a key" close={close}>
      <div class="form">
        <Field label="Name" hint="Players ask for it. Letters, digits, - _ and .">
          <input value={name} spellcheck={false} onInput={(event) => setName(event.currentTarget.value)} />
        </Field>
        <Field label="Owner" hint="May be empty">
          <input value={owner} onInput={(event) => setOwner(event.currentTarget.value)} />
        </Field>
        <Field label="Who may play">
          <select value={play} onChange={(event) => setPlay(event.currentTarget.value)}>
            {Object.entries(PLAY).map(([value, text]) => <option key={value} value={value}>{text}</option>)}
          </select>
        </Field>
        <Field label="Days until it expires" hint="Empty: never">
          <input type="number" min="1" value={days} onInput={(event) => setDays(event.currentTarget.value)} />
        </Field>
      </div>
      <footer>
        <button type="button" onClick={close}>Cancel</button>
        <Act
          kind="primary"
          disabled={name.trim() === ""}
          act={async () => {
            const body: Record<string, unknown> = { name: name.trim(), play };
            if (owner.trim() !== "") body.owner = owner.trim();
            if (Number(days) > 0) body.expires_in_seconds = Number(days) * 86_400;
            done(await ask<Issued>("POST", "keys", body));
          }}
        >
          Issue it
        </Act>
      </footer>
    </Dialog>
  );
}
