// What the dashboard uses of lit-html, for the type checker.

export type Content = unknown;
export function html(strings: TemplateStringsArray, ...values: unknown[]): Content;
export function svg(strings: TemplateStringsArray, ...values: unknown[]): Content;
export function render(content: Content, place: Element | DocumentFragment): unknown;
export const nothing: unique symbol;
