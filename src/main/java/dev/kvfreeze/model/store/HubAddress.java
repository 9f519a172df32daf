package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A file on the hub: {@code hf://owner/name/file.gguf} or {@code hf://owner/name@revision/file}.
 *
 * @param revision branch, tag or commit
 * @param file its path inside the repository
 */
record HubAddress(String owner, String name, String revision, String file) {
  static final String SCHEME = "hf://";
  private static final Pattern COMMIT = Pattern.compile("[0-9a-f]{40}");
  // A segment begins with no dot, so none is "." or ".." and none leaves the cache folder.
  private static final String SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9._-]*";
  private static final Pattern SYNTAX =
      Pattern.compile(
          SCHEME
              + "(SEGMENT)/(SEGMENT)(?:@(SEGMENT))?/(FILE(?:/FILE)*\\.gguf)"
                  .replace("SEGMENT", SEGMENT)
                  .replace("FILE", "[A-Za-z0-9_-][A-Za-z0-9._+ -]*"));

  static HubAddress parse(String text) {
    Matcher matcher = SYNTAX.matcher(text);
    if (!matcher.matches()) {
      throw new ModelFileException(
          "'%s' is no address of a model on the hub, allowed is hf://owner/name/file.gguf, with"
                  .formatted(text)
              + " @revision after the name if it is not main; correct --model");
    }
    String revision = matcher.group(3) == null ? "main" : matcher.group(3);
    return new HubAddress(matcher.group(1), matcher.group(2), revision, matcher.group(4));
  }

  /** The folder of the repository in the hub's cache. */
  String repositoryFolder() {
    return "models--" + owner + "--" + name;
  }

  /** Whether the revision can never mean another file. */
  boolean pinned() {
    return COMMIT.matcher(revision).matches();
  }

  static boolean isCommit(String text) {
    return COMMIT.matcher(text).matches();
  }

  HubAddress at(String commit) {
    return new HubAddress(owner, name, commit, file);
  }

  URI url(URI endpoint) {
    String path =
        Arrays.stream(file.split("/"))
            .map(part -> URLEncoder.encode(part, StandardCharsets.UTF_8).replace("+", "%20"))
            .collect(Collectors.joining("/"));
    return URI.create("%s/%s/%s/resolve/%s/%s".formatted(endpoint, owner, name, revision, path));
  }

  @Override
  public String toString() {
    String at = revision.equals("main") ? "" : "@" + revision;
    return SCHEME + owner + "/" + name + at + "/" + file;
  }
}
