// All steps in the order of their paths.

import { sortKey } from './step_path.js';

export class StepOrder {
    #paths = new Map();
    #sorted = [];
    #version = -1;

    /** The steps of a state, in order. */
    of(state) {
        if (state.stepsVersion !== this.#version) {
            this.#version = state.stepsVersion;
            for (const path of state.steps.keys()) {
                if (!this.#paths.has(path)) this.#paths.set(path, sortKey(path));
            }
            const byKey = new Map([...this.#paths].map(([path, key]) => [key, path]));
            // Texts as such: of ten thousand, a comparison by a function takes longer than a frame.
            this.#sorted = [...byKey.keys()].sort().map((key) => byKey.get(key));
        }
        return this.#sorted.map((path) => state.steps.get(path)).filter(Boolean);
    }
}
