// SPDX-License-Identifier: Apache-2.0
// What a screen reader's and a weak eye's advocate would object to: a list of sentences.
(() => {
  const found = [];
  const seen = (one) => {
    const box = one.getBoundingClientRect(), style = getComputedStyle(one);
    return box.width > 1 && box.height > 1 && style.visibility !== "hidden" && style.opacity !== "0";
  };
  const colour = (text) => {
    const parts = text.match(/[\d.]+/g).map(Number);
    return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const { rgb, alpha } = colour(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return rgb;
    }
    return [255, 255, 255];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  let texts = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const one = node.parentElement;
    if (!node.data.trim() || !seen(one) || ["SCRIPT", "NOSCRIPT", "OPTION"].includes(one.tagName)) continue;
    texts += 1;
    const style = getComputedStyle(one), size = parseFloat(style.fontSize);
    const ink = one instanceof SVGElement ? style.fill : style.color;
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const is = contrast(colour(ink).rgb, ground(one));
    if (is < least) found.push(`contrast ${is.toFixed(2)}: "${node.data.trim().slice(0, 40)}"`);
  }
  for (const one of document.querySelectorAll(".path, .legend i, .badge")) {
    const style = getComputedStyle(one);
    const ink = one.matches(".path") ? style.stroke : style.color;
    const is = contrast(colour(ink).rgb, ground(one.matches(".badge") ? one : one.parentElement));
    if (seen(one) && is < 3) found.push(`contrast of a mark ${is.toFixed(2)}: ${one.className.baseVal ?? one.className}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) found.push(`id ${id} stands twice`);
  for (const one of document.querySelectorAll("[aria-labelledby], label[for]")) {
    const id = one.getAttribute("aria-labelledby") || one.htmlFor;
    if (!document.getElementById(id)) found.push(`nothing has the id ${id}`);
  }
  let before = 0;
  for (const one of document.querySelectorAll("h1, h2, h3")) {
    const level = Number(one.tagName[1]);
    if (level > before + 1) found.push(`heading "${one.textContent}" leaves a level out`);
    before = level;
  }
  if (document.querySelectorAll("h1").length !== 1) found.push("there is not one h1");
  // Not innerWidth: a telephone's grows with what is too wide.
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) {
    const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > width + 1);
    found.push(`wider than the screen: ${wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 80))}`);
  }
  if (matchMedia("(pointer: coarse)").matches) {
    for (const one of document.querySelectorAll("button, select, input, summary, .range label, nav a")) {
      const box = (one.closest(".range label") || one).getBoundingClientRect();
      if (seen(one) && box.height < 32) found.push(`${one.tagName} is ${box.height.toFixed(0)} px high, too small for a finger`);
    }
  }
  if (texts < 30) found.push(`only ${texts} texts were looked at`);
  return found;
})();
