// Lines of a log as people read them: with the time of the browser's zone in place of seconds since the epoch.

import { logTime } from "./text.js";

/** How lines of jobs begin: the time, and who wrote it. */
const BEGINNING = /^\[(\d{9,11})\](?:\[[A-Z ]{1,32}\])? ?/gm;

/** Return the text of a log for people; the file itself keeps its form. */
export const readableLog = (text) => text.replace(BEGINNING, (_, seconds) => `${logTime(Number(seconds))}  `);
