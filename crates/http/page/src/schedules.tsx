// Schedules: what begins when.
import { useEffect, useState } from "preact/hooks";
import { ask, get } from "./api";
import { Confirm } from "./parts";
import { say, sayProblem } from "./store";
import { day } from "./words";

interface Schedule {
  id: string;
  label: string | null;
  stream: string | null;
  next: string | null;
  next_ends: string | null;
  when: unknown;
}

export function Schedules() {
  const [all, setAll] = useState<Schedule[] | null>(null);
  const [cancelling, setCancelling] = useState<Schedule | null>(null);
  const load = async () => {
    try {
      setAll((await get<{ schedules: Schedule[] }>("schedules")).schedules);
    } catch (error) {
      sayProblem(error);
    }
  };
  useEffect(() => {
    void load();
    const timer = setInterval(load, 10_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <main>
      <div class="heading">
        <h1>Schedules</h1>
        <span class="push" />
        <a class="button primary" href="#/new/schedule">New schedule</a>
      </div>
      {all?.length === 0 && <p class="nothing card">Nothing is scheduled.</p>}
      {all && all.length > 0 && (
        <section class="card scroll">
          <table>
            <thead>
              <tr><th>Stream</th><th>Now</th><th>Next</th><th>Until</th><th>Windows</th><th><span class="hidden">Actions</span></th></tr>
            </thead>
            <tbody>
              {all.map((schedule) => (
                <tr key={schedule.id}>
                  <td><strong>{schedule.label ?? schedule.id}</strong></td>
                  <td>{schedule.stream ? <a href={`#/streams/${schedule.stream}`}>runs as {schedule.stream}</a> : "–"}</td>
                  <td>{schedule.next ? day(schedule.next) : "never"}</td>
                  <td>{schedule.next_ends ? day(schedule.next_ends) : "–"}</td>
                  <td><code>{JSON.stringify(schedule.when)}</code></td>
                  <td class="acts"><button type="button" onClick={() => setCancelling(schedule)}>Take out</button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {cancelling && (
        <Confirm
          title="Take this schedule out?"
          text="Nothing begins by it any more. What runs now goes on."
          yes="Take it out"
          close={() => setCancelling(null)}
          act={async () => {
            await ask("DELETE", `schedules/${cancelling.id}`);
            say("The schedule was taken out.");
            await load();
          }}
        />
      )}
    </main>
  );
}
