// Asks for the token. In: what the person types. Out: the token, kept for this tab, or in this browser if wished.
import { useState } from "preact/hooks";
import { setToken } from "./api";
import { begin } from "./store";
import { Field } from "./parts";

export function TokenForm({ why }: { why: string }) {
  const [secret, setSecret] = useState("");
  const [isKept, setKept] = useState(false);
  const send = (event: Event) => {
    event.preventDefault();
    if (secret.trim() === "") return;
    setToken(secret.trim(), isKept);
    void begin();
  };
  return (
    <main class="gate">
      <form onSubmit={send} class="card">
        <h1>flowcast</h1>
        <p>This server asks for a token. The program prints one when it starts for the first time.</p>
        {why && <p class="problem" role="alert">{why}</p>}
        <Field label="Token">
          <input
            type="password"
            autocomplete="current-password"
            required
            autofocus
            value={secret}
            onInput={(event) => setSecret(event.currentTarget.value)}
          />
        </Field>
        <label class="check">
          <input type="checkbox" checked={isKept} onChange={(event) => setKept(event.currentTarget.checked)} />
          Remember it in this browser
        </label>
        <footer><button type="submit" class="primary">Open</button></footer>
      </form>
    </main>
  );
}
