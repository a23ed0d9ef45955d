// Answers of the appliance may overtake each other: an older one must not take the place of a newer one.

/** The questions that are asked about one thing. */
export class Questions {
  asked = 0;
  answered = 0;

  /** Count a question; return what says, once it is answered, whether no later one was answered before. */
  ask() {
    const turn = (this.asked += 1);
    return () => {
      const isNewest = turn > this.answered;
      this.answered = Math.max(turn, this.answered);
      return isNewest;
    };
  }
}
