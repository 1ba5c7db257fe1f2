// Recordings: the files that are written now, and those that are complete.
import { useEffect, useState } from "preact/hooks";
import { get } from "./api";
import { sayProblem } from "./store";
import { bytes, day, fileName, position } from "./words";

interface Open {
  stream: string;
  label: string | null;
  output: string;
  path: string | null;
  bytes: number;
}

interface Complete extends Open {
  at: string;
  path: string;
  length_seconds: number;
}

export function Recordings() {
  const [all, setAll] = useState<{ open: Open[]; complete: Complete[] } | null>(null);
  useEffect(() => {
    const load = async () => {
      try {
        setAll(await get("recordings"));
      } catch (error) {
        sayProblem(error);
      }
    };
    void load();
    const timer = setInterval(load, 3000);
    return () => clearInterval(timer);
  }, []);
  return (
    <main>
      <div class="heading"><h1>Recordings</h1></div>
      {all && all.open.length + all.complete.length === 0 && (
        <p class="nothing card">Nothing is recorded, and nothing was since the program began.</p>
      )}
      {all && all.open.length > 0 && (
        <section class="card" aria-labelledby="open">
          <h2 id="open">Being written</h2>
          <div class="scroll">
            <table>
              <thead><tr><th>File</th><th>Stream</th><th class="number">Bytes</th></tr></thead>
              <tbody>
                {all.open.map((file) => (
                  <tr key={file.output}>
                    <td class="where"><File path={file.path} /></td>
                    <td><a href={`#/streams/${file.stream}`}>{file.label ?? file.stream}</a></td>
                    <td class="number">{bytes(file.bytes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
      {all && all.complete.length > 0 && (
        <section class="card" aria-labelledby="complete">
          <h2 id="complete">Complete</h2>
          <div class="scroll">
            <table>
              <thead><tr><th>Completed</th><th>File</th><th>Stream</th><th class="number">Length</th><th class="number">Bytes</th></tr></thead>
              <tbody>
                {all.complete.map((file) => (
                  <tr key={`${file.at} ${file.path}`}>
                    <td>{day(file.at)}</td>
                    <td class="where"><File path={file.path} /></td>
                    <td>{file.label ?? file.stream}</td>
                    <td class="number">{position(file.length_seconds)}</td>
                    <td class="number">{bytes(file.bytes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
    </main>
  );
}

/** Its name, and below it where it is: on the server. */
function File({ path }: { path: string | null }) {
  if (path === null) return <span class="quiet">not begun</span>;
  return <><strong>{fileName(path)}</strong><small class="quiet">{path}</small></>;
}
