// What a form can ask for of a JSON Schema. Nothing here knows of the page.

const SCALARS = new Set(['string', 'integer', 'number', 'boolean']);
const DEEPEST = 3;
const UNKNOWN = ['$ref', 'oneOf', 'anyOf', 'allOf', 'not', 'if', 'patternProperties', 'prefixItems', 'dependentSchemas', 'propertyNames'];
const TEXT_KINDS = { email: 'email', uri: 'url', date: 'date', time: 'time' };

/**
 * Gives the fields of a form: `{kind, key, label, help, isRequired, initial, …}`, a group having `fields`. Null of a schema that says
 * more than a form can ask: its answer is written as JSON.
 */
export function describe(schema, key = '', isRequired = true, depth = 0) {
    if (schema === null || typeof schema !== 'object' || UNKNOWN.some((name) => name in schema)) return null;
    const type = Array.isArray(schema.type) ? schema.type.filter((name) => name !== 'null') : [schema.type];
    const base = { key, label: schema.title ?? key, help: schema.description ?? '', isRequired, initial: schema.default };
    const choices = schema.enum ?? ('const' in schema ? [schema.const] : null);
    if (choices) return choices.every((value) => value === null || typeof value !== 'object') ? { ...base, kind: 'choice', choices } : null;
    if (type.length !== 1) return null;
    if (type[0] === 'object') return group(schema, base, depth);
    if (type[0] === 'array') return list(schema, base);
    if (!SCALARS.has(type[0])) return null;
    if (type[0] === 'string') {
        const { minLength, maxLength, pattern, format } = schema;
        return { ...base, kind: 'text', format: TEXT_KINDS[format] ?? 'text', isLong: !format && !pattern && !(maxLength <= 120), minLength, maxLength, pattern };
    }
    if (type[0] === 'boolean') return { ...base, kind: 'check' };
    return { ...base, kind: 'number', isWhole: type[0] === 'integer', least: schema.minimum, most: schema.maximum };
}

function group(schema, base, depth) {
    if (!schema.properties || depth >= DEEPEST) return null;
    const required = new Set(schema.required ?? []);
    if ([...required].some((name) => !(name in schema.properties))) return null;
    const fields = Object.entries(schema.properties).map(([name, property]) => describe(property, name, required.has(name), depth + 1));
    return fields.every(Boolean) ? { ...base, kind: 'group', fields } : null;
}

function list(schema, base) {
    const item = describe(schema.items ?? null, '', true, DEEPEST);
    if (!item) return null;
    if (item.kind === 'choice') return { ...base, kind: 'choices', choices: item.choices };
    return item.kind === 'text' || item.kind === 'number' ? { ...base, kind: 'lines', item } : null;
}

/** Makes the answer of what was filled in: texts, checks, and for groups an object of these. Undefined is left out. */
export function answerOf(field, filled) {
    switch (field.kind) {
        case 'group': {
            const entries = field.fields.map((inner) => [inner.key, answerOf(inner, filled?.[inner.key])]).filter(([, value]) => value !== undefined);
            // A group that nobody touched is no answer, unless one is required.
            return entries.length === 0 && !field.isRequired ? undefined : Object.fromEntries(entries);
        }
        case 'choice':
            return filled === '' || filled === undefined ? undefined : field.choices[Number(filled)];
        case 'choices':
            return filled.length === 0 && !field.isRequired ? undefined : filled.map((index) => field.choices[Number(index)]);
        case 'lines': {
            const lines = (filled ?? '').split('\n').map((line) => line.trim()).filter(Boolean);
            return lines.length === 0 && !field.isRequired ? undefined : lines.map((line) => answerOf(field.item, line));
        }
        case 'check':
            return Boolean(filled);
        case 'number':
            return filled === '' || filled === undefined ? undefined : Number(filled);
        default:
            return filled === '' && !field.isRequired ? undefined : filled;
    }
}
