/** What the pages say by script, in the language of the page; English is the source. */
type Values = Readonly<Record<string, string | number>>;
type Forms = string | readonly string[];

const CATEGORIES = ["zero", "one", "two", "few", "many", "other"];

/** The page's language, as dates and numbers are written in it. */
export const locale =
  document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;

function read(): Readonly<Record<string, Forms>> {
  const words = document.body.dataset.words ?? "";
  return words === "" ? {} : (JSON.parse(words) as Record<string, Forms>);
}

const words = read();
const rules = new Intl.PluralRules(locale);

function fill(message: string, values: Values): string {
  return message.replace(/%\((\w+)\)s/g, (whole, name: string) => String(values[name] ?? whole));
}

/** Say a message; a value stands in it as `%(name)s`. */
export function say(message: string, values: Values = {}): string {
  const said = words[message];
  return fill(typeof said === "string" ? said : message, values);
}

/** Say a message of a number of things, `%(num)s` of them. */
export function sayMany(one: string, many: string, num: number, values: Values = {}): string {
  const given = words[one];
  const forms = Array.isArray(given) ? (given as readonly string[]) : [one, many];
  const used = CATEGORIES.filter((name) =>
    rules.resolvedOptions().pluralCategories.includes(name as Intl.LDMLPluralRule),
  );
  const at = Math.min(used.indexOf(rules.select(num)), forms.length - 1);
  return fill(forms[at] ?? many, { num, ...values });
}
