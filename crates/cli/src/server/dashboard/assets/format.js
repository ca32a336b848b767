// Numbers, times and names as people read them.

const GROUPED = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

export const number = (value) => GROUPED.format(value);

export const money = (value) => `$${value.toFixed(value !== 0 && Math.abs(value) < 0.1 ? 4 : 2)}`;

/** The end of an id: of ids that are made in order, the beginnings are alike. */
export const shortId = (id) => id.slice(-8);

/** `85 ms`, `1.4 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(ms) {
    if (ms === null || ms === undefined || Number.isNaN(ms)) return '';
    const whole = Math.max(0, Math.round(ms));
    if (whole < 1000) return `${whole} ms`;
    const seconds = whole / 1000;
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${pad(Math.floor(seconds % 60))} s`;
    const hours = Math.floor(minutes / 60);
    if (hours < 48) return `${hours} h ${pad(minutes % 60)} min`;
    return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A time of today by the clock, any other with its day; an exact one by the clock with its milliseconds. */
export function time(text, { isExact = false } = {}) {
    if (!text) return '';
    const at = new Date(text);
    if (isExact) return `${CLOCK.format(at)}.${String(at.getMilliseconds()).padStart(3, '0')}`;
    return at.toDateString() === new Date().toDateString() ? CLOCK.format(at) : DAY.format(at);
}

/** `in 23 h 59 min`, `5.0 s ago`. */
export function relative(text, now = Date.now()) {
    const away = Date.parse(text) - now;
    return away >= 0 ? `in ${duration(away)}` : `${duration(-away)} ago`;
}

export function bytes(count) {
    if (count < 1024) return `${count} B`;
    if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KB`;
    if (count < 1024 ** 3) return `${(count / 1024 / 1024).toFixed(1)} MB`;
    return `${(count / 1024 ** 3).toFixed(1)} GB`;
}

/** `1 step`, `3 steps`. */
export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? '' : 's'}`;

function pad(value) {
    return String(value).padStart(2, '0');
}
