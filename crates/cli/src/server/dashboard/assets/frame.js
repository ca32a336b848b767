// Drawing once per animation frame, at most ten times a second, and never for nobody.

const LEAST = 100;

/** Gives a function that has `draw` called soon, however often it is called itself. */
export function frame(draw) {
    let isAsked = false;
    let last = -Infinity;
    let stopped = false;
    const run = () => {
        isAsked = false;
        if (stopped) return;
        last = performance.now();
        draw();
    };
    const ask = () => {
        if (isAsked || stopped) return;
        isAsked = true;
        const wait = last + LEAST - performance.now();
        // A hidden tab gets no frames, so what was asked for waits until somebody looks.
        if (wait > 0) setTimeout(() => requestAnimationFrame(run), wait);
        else requestAnimationFrame(run);
    };
    ask.stop = () => {
        stopped = true;
    };
    return ask;
}

/** Calls `act` now, or `ms` after the last time, and once for all calls in between. */
export function atMostEvery(ms, act) {
    let last = -Infinity;
    let timer = null;
    const ask = () => {
        if (timer !== null) return;
        const wait = Math.max(0, last + ms - performance.now());
        timer = setTimeout(() => {
            timer = null;
            last = performance.now();
            act();
        }, wait);
    };
    ask.stop = () => {
        clearTimeout(timer);
        timer = -1;
    };
    return ask;
}
