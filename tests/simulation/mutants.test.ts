// The simulation is worth what it catches: bugs planted by hand, each in a copy of the repository.

import { expect, setDefaultTimeout, test } from "bun:test";
import { catchMutant, MUTANTS, SUITES } from "./mutants.ts";

setDefaultTimeout(300_000);

for (const mutant of MUTANTS) {
  test(`a bug planted in the ${mutant.where} is caught: ${mutant.bug}`, async () => {
    const { tests = SUITES.simulation, only } = mutant;
    const caught = await catchMutant(mutant, tests, "41 40", ["--bail", ...(only === undefined ? [] : ["-t", only])]);
    expect(caught.length).toBeGreaterThan(0);
  });
}
