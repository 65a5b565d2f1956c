// The simulation is worth what it catches: six bugs planted by hand, each in a copy of the repository.

import { expect, setDefaultTimeout, test } from "bun:test";
import { catchMutant, MUTANTS, SUITES } from "./mutants.ts";

setDefaultTimeout(120_000);

for (const mutant of MUTANTS) {
  test(`a bug planted in the ${mutant.where} is caught: ${mutant.bug}`, async () => {
    const caught = await catchMutant(mutant, SUITES.simulation, "41 40");
    expect(caught.length).toBeGreaterThan(0);
  });
}
