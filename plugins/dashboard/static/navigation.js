// The ways between screens, by links and the browser's buttons: what was entered is not lost without a question.

import { ask } from "./dialogs.js";
import { isSending } from "./sending.js";
import { t } from "./text.js";

export class Navigation {
  /**
   * @param {Element} root
   * @param {string} base of the addresses of all screens.
   * @param {() => Promise<void>} show shows the screen of the address.
   * @param {AbortSignal} signal of the login.
   */
  constructor(root, base, show, signal) {
    this.base = base;
    this.show = show;
    /** The address of the screen that is shown. */
    this.path = location.pathname;
    /** Whether something was entered here that is not saved, and whether that was so before it was last sent. */
    this.isEdited = false;
    this.wasEdited = false;
    this.isAsking = false;
    /** Whether the next step back was agreed to. */
    this.isAgreed = false;
    addEventListener("popstate", () => this.back().catch(reportError), { signal });
    addEventListener("beforeunload", (event) => this.isEdited && event.preventDefault(), { signal });
    root.addEventListener("click", (event) => this.follow(event), { signal });
    for (const kind of ["input", "submit", "unsaved"]) {
      root.addEventListener(kind, (event) => this.note(event), { signal });
    }
  }

  /** A screen is shown, with nothing entered in it. */
  arrived() {
    Object.assign(this, { path: location.pathname, isEdited: false, wasEdited: false });
  }

  /** Note that something was entered in a form, or sent, or was sent and not taken. */
  note({ target, type }) {
    if (!target.closest?.("main form:not([role=search])")) {
      return;
    }
    if (type === "submit") {
      this.wasEdited = this.isEdited;
    }
    this.isEdited = type === "input" || (type === "unsaved" && (this.isEdited || this.wasEdited));
  }

  /** Follow a link to a screen without loading the page again. */
  follow(event) {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const isScreen = link && link.origin === location.origin && !link.hash && `${link.pathname}/`.startsWith(`${this.base}/`);
    if (isScreen && plain && !link.download) {
      event.preventDefault();
      this.leaveFor(link.pathname).catch(reportError);
    }
  }

  /** Go to a screen, unless somebody wants to stay. */
  async leaveFor(path) {
    if (await this.mayLeave()) {
      await this.go(path);
    }
  }

  /** Go to a screen. */
  go(path) {
    history.pushState(null, "", path);
    return this.show();
  }

  /** The browser has gone back or forward; while somebody is asked, the address is that of what is shown. */
  async back() {
    const isAgreed = this.isAgreed;
    this.isAgreed = false;
    if (location.pathname === this.path) {
      return;
    }
    if (isAgreed || !this.holds) {
      await this.show();
      return;
    }
    history.pushState(null, "", this.path);
    if (!this.isAsking && (await this.mayLeave())) {
      this.isAgreed = true;
      history.back();
    }
  }

  /** Whether something would be lost by leaving. */
  get holds() {
    return this.isEdited || isSending();
  }

  async mayLeave() {
    if (!this.holds) {
      return true;
    }
    this.isAsking = true;
    try {
      return await ask({
        title: t("Leave this page?"),
        body: isSending() ? t("The file that is being sent is thrown away.") : t("What you entered here is not saved."),
        action: t("Leave the page"),
      });
    } finally {
      this.isAsking = false;
    }
  }
}
