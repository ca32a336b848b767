// A table of any length of which only the rows in sight are in the document.

import { h } from './dom.js';

const MARGIN = 8;
const MOST = 180;

export class VirtualRows {
    #scroller;
    #body;
    #above = h('tr', { 'aria-hidden': 'true' }, h('td', { class: 'spacer' }));
    #below = h('tr', { 'aria-hidden': 'true' }, h('td', { class: 'spacer' }));
    #height;
    #render;
    #onDrawn;
    #count = 0;
    #first = 0;
    #last = 0;
    #resize;
    #onScroll;

    /** `render(index)` gives a row of `height` pixels; `table` lies in `scroller`, which scrolls; `onDrawn` hears of each drawing. */
    constructor({ scroller, table, height, render, onDrawn = () => {} }) {
        this.#scroller = scroller;
        this.#height = height;
        this.#render = render;
        this.#onDrawn = onDrawn;
        this.#body = table.tBodies[0] ?? table.createTBody();
        this.#body.append(this.#above, this.#below);
        this.#onScroll = () => this.#draw(false);
        scroller.addEventListener('scroll', this.#onScroll, { passive: true });
        this.#resize = new ResizeObserver(() => this.#draw(false));
        this.#resize.observe(scroller);
        this.table = table;
    }

    /** Draws anew what is in sight, of so many rows. */
    set(count) {
        this.#count = count;
        this.table.setAttribute('aria-rowcount', String(count + 1));
        this.#draw(true);
    }

    /** Whether the last row is in sight. */
    get isAtEnd() {
        const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
        return scrollTop + clientHeight >= scrollHeight - this.#height;
    }

    /** The rows in sight, from the first to behind the last. */
    get range() {
        return [this.#first, this.#last];
    }

    scrollTo(index) {
        const head = this.table.tHead?.offsetHeight ?? 0;
        const top = index * this.#height;
        const { scrollTop, clientHeight } = this.#scroller;
        if (top < scrollTop) this.#scroller.scrollTop = top;
        else if (top + this.#height + head > scrollTop + clientHeight) {
            this.#scroller.scrollTop = top + this.#height + head - clientHeight;
        }
    }

    /** Moves the focus to the next or previous row, of those that have something to focus. */
    move(by) {
        if (this.#count === 0) return false;
        const row = document.activeElement?.closest?.('tr[aria-rowindex]');
        const isInside = row && this.#body.contains(row);
        const from = isInside ? Number(row.getAttribute('aria-rowindex')) - 2 : -1;
        const index = Math.max(0, Math.min(this.#count - 1, from + by));
        this.scrollTo(index);
        this.#draw(false);
        this.#body.querySelector(`tr[aria-rowindex="${index + 2}"]`)?.querySelector('a, button')?.focus({ preventScroll: true });
        return true;
    }

    scrollToEnd() {
        this.#scroller.scrollTop = this.#scroller.scrollHeight;
    }

    dispose() {
        this.#resize.disconnect();
        this.#scroller.removeEventListener('scroll', this.#onScroll);
    }

    #draw(isForced) {
        const inSight = Math.ceil(this.#scroller.clientHeight / this.#height) + 2 * MARGIN;
        const first = Math.max(0, Math.min(Math.floor(this.#scroller.scrollTop / this.#height) - MARGIN, this.#count - inSight));
        const last = Math.min(this.#count, first + Math.min(inSight, MOST));
        if (!isForced && first === this.#first && last === this.#last) return;
        const focusedRow = document.activeElement?.closest('tr');
        const focused = focusedRow && this.#body.contains(focusedRow) ? focusedRow.getAttribute('aria-rowindex') : null;
        this.#first = first;
        this.#last = last;
        this.#above.firstChild.style.height = `${first * this.#height}px`;
        this.#below.firstChild.style.height = `${(this.#count - last) * this.#height}px`;
        const before = new Map([...this.#body.rows].map((row) => [row.getAttribute('aria-rowindex'), row]));
        const rows = [];
        for (let index = first; index < last; index += 1) {
            const row = this.#render(index);
            row.setAttribute('aria-rowindex', String(index + 2));
            const known = before.get(String(index + 2));
            // What is as it was stays in the document, and keeps its focus and what is selected of its text.
            const isSame = known?.isEqualNode(row);
            if (isSame) before.delete(String(index + 2));
            rows.push(isSame ? known : row);
        }
        for (const [index, row] of before) {
            if (index !== null) row.remove();
        }
        let next = this.#above.nextSibling;
        for (const row of rows) {
            if (row === next) next = next.nextSibling;
            else this.#body.insertBefore(row, next);
        }
        // Whoever had the focus keeps it, though the row was made anew.
        if (focused && !document.activeElement.closest('tr')) {
            rows.find((row) => row.getAttribute('aria-rowindex') === focused)?.querySelector('a, button')?.focus({ preventScroll: true });
        }
        this.#onDrawn(first, last);
    }
}
