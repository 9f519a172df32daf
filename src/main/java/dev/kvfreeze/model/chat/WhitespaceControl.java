package dev.kvfreeze.model.chat;

/**
 * Jinja's white-space rules (minus signs, trim_blocks, lstrip_blocks, one newline dropped at the
 * end), applied to the source, because Jinjava follows them only in part. The result has no minus
 * signs and no comments, and its text is to be taken as it is.
 */
final class WhitespaceControl {
  private final String source;
  private final StringBuilder out = new StringBuilder();
  private int position;

  /** What the tag before the current text asks of it. */
  private boolean stripsAll;

  private boolean dropsNewline;
  private boolean lineStarting = true;

  private WhitespaceControl(String source) {
    this.source = source;
  }

  static String apply(String source) {
    String unix = source.replace("\r\n", "\n").replace('\r', '\n');
    return new WhitespaceControl(unix.endsWith("\n") ? unix.substring(0, unix.length() - 1) : unix)
        .run();
  }

  private String run() {
    while (position < source.length()) {
      int tag = nextTag(position);
      if (tag < 0) {
        text(source.substring(position), '\0', '\0');
        break;
      }
      char kind = source.charAt(tag + 1);
      char sign = tag + 2 < source.length() ? source.charAt(tag + 2) : '\0';
      text(source.substring(position, tag), kind, sign);
      int end = tagEnd(tag, kind);
      if (end < 0) {
        out.append(source, tag, source.length()); // Left for Jinjava to report.
        break;
      }
      char endSign = source.charAt(end - 3);
      int from = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
      boolean signed = end - 3 >= from && (endSign == '-' || endSign == '+');
      if (kind != '#') {
        out.append('{')
            .append(kind)
            .append(' ')
            .append(source, from, signed ? end - 3 : end - 2)
            .append(' ')
            .append(source, end - 2, end);
      }
      stripsAll = signed && endSign == '-';
      dropsNewline = kind != '{' && !signed;
      lineStarting = false;
      position = end;
    }
    return out.toString();
  }

  private int nextTag(int from) {
    for (int at = source.indexOf('{', from); at >= 0; at = source.indexOf('{', at + 1)) {
      if (at + 1 < source.length() && "{%#".indexOf(source.charAt(at + 1)) >= 0) {
        return at;
      }
    }
    return -1;
  }

  /** Behind the closing mark of a tag, or -1; marks inside quotes and brackets do not close it. */
  private int tagEnd(int tag, char kind) {
    char close = kind == '{' ? '}' : kind;
    char quote = '\0';
    int depth = 0;
    for (int at = tag + 2; at + 1 < source.length(); at++) {
      char c = source.charAt(at);
      if (quote != '\0') {
        if (c == '\\') {
          at++;
        } else if (c == quote) {
          quote = '\0';
        }
      } else if (depth == 0 && c == close && source.charAt(at + 1) == '}') {
        return at + 2;
      } else if (kind != '#' && (c == '\'' || c == '"')) {
        quote = c;
      } else if (kind != '#' && "([{".indexOf(c) >= 0) {
        depth++;
      } else if (kind != '#' && ")]}".indexOf(c) >= 0) {
        depth--;
      }
    }
    return -1;
  }

  private void text(String text, char nextKind, char nextSign) {
    int from = 0;
    int to = text.length();
    if (stripsAll) {
      while (from < to && Character.isWhitespace(text.charAt(from))) {
        from++;
      }
      lineStarting |= from > 0 && text.charAt(from - 1) == '\n';
    } else if (dropsNewline && to > 0 && text.charAt(0) == '\n') {
      from = 1;
      lineStarting = true;
    }
    if (nextSign == '-') {
      while (to > from && Character.isWhitespace(text.charAt(to - 1))) {
        to--;
      }
    } else if ((nextKind == '%' || nextKind == '#') && nextSign != '+') {
      int line = Math.max(from, text.lastIndexOf('\n') + 1);
      if ((line > from || lineStarting) && text.substring(line).isBlank()) {
        to = line;
      }
    }
    out.append(text, from, to);
  }
}
