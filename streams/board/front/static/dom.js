// Small helpers for the document. Text goes in by textContent only: what a server or a sender wrote is never markup.

export const byId = (id) => document.getElementById(id);

/** Make an element: el("p", {class: "x", lang: "en"}, "text", child). Null children are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  setAttributes(node, attributes);
  append(node, children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  setAttributes(node, attributes);
  append(node, children);
  return node;
}

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
}

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Set the text only if it differs: an unchanged node costs no layout and no word of a screen reader. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

export function setData(node, name, value) {
  const text = value ?? "";
  if (node.dataset[name] !== text) node.dataset[name] = text;
}

export function readJson(id) {
  const node = byId(id);
  return node ? JSON.parse(node.textContent) : null;
}
