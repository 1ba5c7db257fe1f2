// How much room there is: limits, what is used of the machine, and how many more streams fit.
import { useEffect, useState } from "preact/hooks";
import { ask, get } from "./api";
import { Act, Field } from "./parts";
import { sayProblem } from "./store";
import { bitRate, bytes, plural } from "./words";

interface Admission {
  allowed: boolean;
  reason: string | null;
  running: number;
  limit: number;
  limit_per_owner: number;
  resources: { resource: string; used: number; budget: number }[];
}

function amount(resource: string, value: number): string {
  if (resource === "memory") return bytes(value);
  if (resource === "uplink") return bitRate(value);
  return `${value.toFixed(2)} cores`;
}

export function Room() {
  const [admission, setAdmission] = useState<Admission | null>(null);
  const [rate, setRate] = useState("2650");
  const [isTls, setTls] = useState(true);
  const [answer, setAnswer] = useState<{ more: number; limiting: string; text: string } | null>(null);
  useEffect(() => {
    const load = () => get<Admission>("admission").then(setAdmission, sayProblem);
    void load();
    const timer = setInterval(load, 5000);
    return () => clearInterval(timer);
  }, []);
  return (
    <main class="narrow">
      <div class="heading"><h1>Capacity</h1></div>
      {admission && (
        <section class="card" aria-label="Limits">
          <p>{admission.allowed ? "Another stream would be started." : admission.reason}</p>
          <Bar name="Streams" used={admission.running} budget={admission.limit} text={`${admission.running} of ${admission.limit}`} />
          {admission.resources.map(({ resource, used, budget }) => (
            <Bar key={resource} name={resource} used={used} budget={budget} text={`${amount(resource, used)} of ${amount(resource, budget)}`} />
          ))}
          {admission.resources.length === 0 && (
            <p class="quiet">Only the number of streams counts: admission by what the machine has left is off.</p>
          )}
        </section>
      )}
      <section class="card form" aria-labelledby="more">
        <h2 id="more">How many more fit?</h2>
        <p class="quiet">Measured on this machine, for a few seconds, beside what runs.</p>
        <Field label="kbit/s of each"><input type="number" min="100" max="100000" value={rate} onInput={(event) => setRate(event.currentTarget.value)} /></Field>
        <label class="check">
          <input type="checkbox" checked={isTls} onChange={(event) => setTls(event.currentTarget.checked)} /> Pushed to RTMPS servers
        </label>
        <footer>
          <Act
            kind="primary"
            act={async () => setAnswer(await ask("POST", "capacity", { kinds: [{ bit_rate: `${Number(rate)}k`, tls: isTls }] }))}
          >
            Measure
          </Act>
        </footer>
        {answer && (
          <div aria-live="polite">
            <p class="big">{plural(answer.more, "more of these fits", "more of these fit")}; {answer.limiting} ends first.</p>
            <pre>{answer.text}</pre>
          </div>
        )}
      </section>
    </main>
  );
}

function Bar({ name, used, budget, text }: { name: string; used: number; budget: number; text: string }) {
  return (
    <div class="meter">
      <span>{name}</span>
      <progress max={budget} value={Math.min(used, budget)} aria-label={name} />
      <span class="quiet">{text}</span>
    </div>
  );
}
