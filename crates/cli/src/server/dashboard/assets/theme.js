// Light or dark: as the reader chose, else as the server was told, else as the system is.

const KEY = 'orchestr8.theme';
const THEMES = ['auto', 'light', 'dark'];

export function current() {
    const chosen = localStorage.getItem(KEY);
    const given = document.querySelector('meta[name="orchestr8-theme"]')?.content;
    return [chosen, given].find((theme) => THEMES.includes(theme)) ?? 'auto';
}

export function apply() {
    document.documentElement.dataset.theme = current();
}

/** Goes on to the next theme and gives its name. */
export function next() {
    const theme = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    localStorage.setItem(KEY, theme);
    apply();
    return theme;
}
