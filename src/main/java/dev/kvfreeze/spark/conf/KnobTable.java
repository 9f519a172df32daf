package dev.kvfreeze.spark.conf;

/** The table of all knobs in Markdown, as it stands in {@code conf/README.md}. */
public final class KnobTable {
  private KnobTable() {}

  public static String markdown() {
    StringBuilder table = new StringBuilder();
    table
        .append("| key after `")
        .append(Knob.PREFIX)
        .append("` | value | unit | default | what |\n");
    table.append("|---|---|---|---|---|\n");
    for (Knob<?> knob : Knobs.all()) {
      String readBy =
          knob.policies().isEmpty() ? "" : " (" + String.join(", ", knob.policies()) + ")";
      table.append(
          "| `%s` | %s | %s | %s | %s%s%s |\n"
              .formatted(
                  knob.name(),
                  escaped(knob.type().allowed()),
                  knob.unit(),
                  knob.defaultText().isEmpty() ? "" : "`" + knob.defaultText() + "`",
                  escaped(knob.description()),
                  readBy,
                  knob.effect() == Knob.Effect.RESULT ? " ●" : ""));
    }
    return table.toString();
  }

  private static String escaped(String text) {
    return text.replace("|", "\\|");
  }
}
