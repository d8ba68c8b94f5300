// Sounds of IEC 60601-1-8, made of oscillators: ten pulses for high, three for medium. Off until somebody turns it on.

import { byId, setHidden, setText } from "./dom.js";
import { t } from "./words.js";

const PULSES = { high: [0, 0.2, 0.4, 0.75, 0.95, 1.55, 1.75, 1.95, 2.3, 2.5], medium: [0, 0.4, 0.8] };
const LENGTH = { high: 0.14, medium: 0.2 };
const PITCH = { high: [523, 659, 784, 659, 784], medium: [523, 659, 784] };
const REST_MS = 3000;
let context = null;
let isOn = false;
let playedAt = -REST_MS;

function read() {
  try { return localStorage.getItem("sound") === "on"; } catch { return false; }
}

function store() {
  try { localStorage.setItem("sound", isOn ? "on" : "off"); } catch { /* it holds until the page is closed */ }
}

function pulse(at, pitch, length) {
  const gain = context.createGain();
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(0.25, at + 0.02);
  gain.gain.setValueAtTime(0.25, at + length - 0.03);
  gain.gain.linearRampToValueAtTime(0, at + length);
  gain.connect(context.destination);
  for (const harmonic of [1, 2, 3, 4]) {
    const tone = context.createOscillator();
    tone.frequency.value = pitch * harmonic;
    const part = context.createGain();
    part.gain.value = 1 / (harmonic * 2);
    tone.connect(part).connect(gain);
    tone.start(at);
    tone.stop(at + length);
  }
}

function sound(priority) {
  const start = context.currentTime + 0.05;
  const pitches = PITCH[priority];
  PULSES[priority].forEach((offset, index) => pulse(start + offset, pitches[index % pitches.length], LENGTH[priority]));
}

/** Play for a new high or medium alert: once for many at a time. A high one is not held back by a medium one. */
export async function chime(priority) {
  if (!isOn || !PULSES[priority]) return;
  if (performance.now() - playedAt < REST_MS && priority !== "high") return;
  playedAt = performance.now();
  if (await isAllowed()) sound(priority);
}

async function isAllowed() {
  context ||= new AudioContext();
  if (context.state !== "running") {
    await Promise.race([context.resume().catch(() => {}), new Promise((done) => { setTimeout(done, 300); })]);
  }
  draw();
  return context.state === "running";
}

function draw() {
  const button = byId("sound");
  setText(button, t(isOn ? "sound_on" : "sound_off"));
  button.setAttribute("aria-pressed", String(isOn));
  setHidden(byId("sound-test"), !isOn);
  setHidden(byId("sound-blocked"), !(isOn && context && context.state !== "running"));
}

export async function startChime() {
  isOn = read();
  byId("sound").hidden = false;
  byId("sound").addEventListener("click", async () => {
    isOn = !isOn;
    store();
    if (isOn && await isAllowed()) sound("medium");
    draw();
  });
  byId("sound-test").addEventListener("click", async () => { if (await isAllowed()) sound("high"); });
  byId("sound-allow").addEventListener("click", async () => { if (await isAllowed()) sound("medium"); });
  draw();
  if (!isOn) return;
  await isAllowed();
  context.addEventListener("statechange", draw);
}
