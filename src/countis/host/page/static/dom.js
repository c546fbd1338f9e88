// Elements with their attributes and children: true is an attribute without a value, false and null are none.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const cells = (...texts) => texts.map((text) => make("td", {}, text));
