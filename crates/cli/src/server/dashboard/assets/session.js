// The token of a server that asks for one. It stays in this tab, and leaves the address bar before anything else happens.

const KEY = 'orchestr8.token';

/** Takes the token from the fragment, if it is there. */
export function takeTokenFromAddress() {
    const match = /^#token=(.+)$/.exec(location.hash);
    if (!match) return;
    history.replaceState(history.state, '', location.pathname + location.search);
    setToken(decodeURIComponent(match[1]));
}

export function setToken(token) {
    sessionStorage.setItem(KEY, token);
}

export function clearToken() {
    sessionStorage.removeItem(KEY);
}

/** The headers that prove who asks. */
export function credentials() {
    const token = sessionStorage.getItem(KEY);
    return token ? { Authorization: `Bearer ${token}` } : {};
}
