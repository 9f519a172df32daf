package dev.kvfreeze.model.chat;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Rewrites the few Jinja constructs that Jinjava reads differently. */
final class TemplateSource {
  private static final Pattern NAMED_VALUE = Pattern.compile("\\s*\\w+\\s*=(?!=)");

  private TemplateSource() {}

  /** The template as Jinjava needs it to render what Jinja would. */
  static String forJinjava(String source) {
    // There are no slices with a step; this one is how templates walk a conversation backwards.
    String text = WhitespaceControl.apply(source).replace("[::-1]", "|reverse");
    StringBuilder out = new StringBuilder();
    int done = 0;
    for (int at = text.indexOf("namespace("); at >= 0; at = text.indexOf("namespace(", done)) {
      int open = at + "namespace(".length();
      out.append(text, done, open);
      done = arguments(text, open, out);
    }
    return out.append(text, done, text.length()).toString();
  }

  /** Puts named values into parentheses: {@code a=b - 1} would be read as {@code (a=b) - 1}. */
  private static int arguments(String text, int open, StringBuilder out) {
    int depth = 0;
    int start = open;
    char quote = '\0';
    for (int at = open; at < text.length(); at++) {
      char c = text.charAt(at);
      if (quote != '\0') {
        quote = c == quote ? '\0' : quote;
      } else if (c == '\'' || c == '"') {
        quote = c;
      } else if (depth == 0 && (c == ',' || c == ')')) {
        argument(text.substring(start, at), out);
        out.append(c);
        start = at + 1;
        if (c == ')') {
          return start;
        }
      } else if ("([{".indexOf(c) >= 0) {
        depth++;
      } else if (")]}".indexOf(c) >= 0) {
        depth--;
      }
    }
    out.append(text, start, text.length());
    return text.length();
  }

  private static void argument(String argument, StringBuilder out) {
    Matcher named = NAMED_VALUE.matcher(argument);
    if (named.lookingAt()) {
      out.append(named.group()).append('(').append(argument.substring(named.end())).append(')');
    } else {
      out.append(argument);
    }
  }
}
