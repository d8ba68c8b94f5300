// What the room page knows: tiles by chair, alerts without a tile. An alert never goes back in revision.

import { isOver, rank } from "./alert_words.js";

const SEPARATOR = "\u0000";

/** A room by name, and by unit where the site says it: two units may each have a "Room 1". */
export const roomKey = (room) => [room.name ?? "", room.unit_id ?? ""].join(SEPARATOR);

/** Nobody is on it and the site does not know it: then it is no chair. */
const isNoChair = (tile) => (tile.room ?? null) === null && !tile.session_id && !tile.patient_id && !tile.alerts?.length;

export class RoomState {
  /** `onNew(alert, tile)` is called for an alert that was not there or has become worse, `onEnded` for one that left. */
  constructor(onNew, onEnded) {
    this.onNew = onNew;
    this.onEnded = onEnded;
    this.rooms = [];
    this.tiles = new Map();
    this.loose = new Map();
    this.newest = new Map();
    this.owner = new Map();
    this.isFirst = true;
  }

  /** Take the whole state of `/api/room`. */
  takeAll(state) {
    const before = this.newest;
    this.newest = new Map();
    this.tiles = new Map();
    this.loose = new Map();
    this.owner = new Map();
    this.before = before;
    this.rooms = (state.rooms || []).map((room) => ({ name: room.name, unit_id: room.unit_id ?? null, key: roomKey(room), keys: [] }));
    (state.rooms || []).forEach((room, index) => {
      this.rooms[index].keys = (room.chairs || []).map((tile) => this.#takeTile({ ...tile, room: room.name }));
    });
    for (const tile of state.elsewhere || []) this.#takeTile({ ...tile, room: null });
    for (const alert of [...(state.without_chair || []), ...(state.unit_alerts || [])]) this.#takeLoose(alert);
    for (const id of before.keys()) if (!this.newest.has(id)) this.onEnded(id);
    this.before = null;
    this.isFirst = false;
  }

  /** Take one `change` event; return the keys of the tiles that are to be drawn. */
  takeChange(change) {
    const touched = new Set();
    for (const tile of change.tiles || []) {
      const own = this.#takeTile(tile);
      for (const key of this.namesakes(tile)) touched.add(key);
      touched.add(own);
    }
    for (const alert of change.alerts || []) {
      const key = this.#tileOf(alert.alert_id);
      if (key) this.#replaceIn(key, alert, touched);
      else if (alert.place !== "chair") this.#takeLoose(alert);
    }
    for (const id of change.gone || []) this.#forget(id, touched);
    return touched;
  }

  get looseAlerts() {
    return [...this.loose.values()];
  }

  /** The room of a tile as the whole state named it; a tile's unit may be that of the session on it. */
  roomOf(tile) {
    if ((tile.room ?? null) === null) return null;
    return this.rooms.find((room) => room.name === tile.room && (room.unit_id ?? tile.unit_id) === tile.unit_id)
      ?? this.rooms.find((room) => room.name === tile.room) ?? { name: tile.room, key: roomKey({ name: tile.room }), keys: [] };
  }

  /** Chairs of one name that the site does not know: where there are several, each says of which unit it is. */
  namesakes(tile) {
    if ((tile.room ?? null) !== null) return [];
    return [...this.tiles].filter(([, other]) => other.chair === tile.chair && (other.room ?? null) === null).map(([key]) => key);
  }

  #keyOf(tile) {
    const room = this.roomOf(tile);
    return [room ? room.key : `${SEPARATOR}${tile.unit_id ?? ""}`, tile.chair].join(SEPARATOR);
  }

  #takeTile(tile) {
    const key = this.#keyOf(tile);
    if (isNoChair(tile)) {
      this.tiles.delete(key);
      return key;
    }
    const alerts = (tile.alerts || []).map((alert) => this.#newer(alert, tile));
    for (const alert of alerts) {
      this.loose.delete(alert.alert_id);
      this.owner.set(alert.alert_id, key);
    }
    this.tiles.set(key, { ...tile, alerts });
    return key;
  }

  #takeLoose(alert) {
    this.loose.set(alert.alert_id, this.#newer(alert, null));
  }

  #replaceIn(key, alert, touched) {
    const tile = this.tiles.get(key);
    const alerts = tile.alerts.map((old) => (old.alert_id === alert.alert_id ? this.#newer(alert, tile) : old));
    this.tiles.set(key, { ...tile, alerts });
    touched.add(key);
  }

  #forget(id, touched) {
    const key = this.#tileOf(id);
    if (key) {
      const tile = this.tiles.get(key);
      this.tiles.set(key, { ...tile, alerts: tile.alerts.filter((alert) => alert.alert_id !== id) });
      touched.add(key);
    }
    this.loose.delete(id);
    this.owner.delete(id);
    if (this.newest.delete(id)) this.onEnded(id);
  }

  #tileOf(id) {
    const key = this.owner.get(id);
    return this.tiles.get(key)?.alerts.some((alert) => alert.alert_id === id) ? key : null;
  }

  /** The newer of this alert and the one known; what is new or worse is told of. */
  #newer(alert, tile) {
    const known = this.newest.get(alert.alert_id) ?? this.before?.get(alert.alert_id);
    const newest = known && known.revision > alert.revision ? known : alert;
    this.newest.set(alert.alert_id, newest);
    const isWorse = !known || rank(newest.priority) > rank(known.priority)
      || (known.status !== "active" && newest.status === "active");
    if (!this.isFirst && isWorse && newest.status === "active" && !isOver(newest)) this.onNew(newest, tile);
    return newest;
  }

  /** Alerts that left a tile without a word are forgotten, so that the memory of a wall screen stays flat. */
  prune() {
    const held = new Set(this.loose.keys());
    for (const tile of this.tiles.values()) for (const alert of tile.alerts) held.add(alert.alert_id);
    for (const id of this.newest.keys()) if (!held.has(id)) this.newest.delete(id);
    for (const id of this.owner.keys()) if (!held.has(id)) this.owner.delete(id);
  }
}
