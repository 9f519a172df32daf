package dev.kvfreeze.spark.input;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;

/**
 * The files of an input path.
 *
 * @param root what ids are relative to, with its file system
 * @param format as asked for, or found by the files' endings
 * @param files all of them, in order; hidden ones left out
 */
record InputFiles(Path root, InputFormat format, List<String> files) {
  private static final Map<String, InputFormat> BY_ENDING =
      Map.of(
          "parquet", InputFormat.PARQUET,
          "json", InputFormat.JSON,
          "jsonl", InputFormat.JSON,
          "ndjson", InputFormat.JSON,
          "csv", InputFormat.CSV);

  /** Looks at the path; an input that is missing, empty or of mixed formats is refused. */
  static InputFiles find(InputOptions options, Configuration hadoop) {
    Path path = new Path(options.path());
    try {
      FileSystem fileSystem = path.getFileSystem(hadoop);
      Path qualified = fileSystem.makeQualified(path);
      FileStatus[] matches = fileSystem.globStatus(qualified);
      if (matches == null || matches.length == 0) {
        throw new InputException(
            "input %s: there is no such file or folder; check --input".formatted(options.path()));
      }
      TreeSet<Path> files = new TreeSet<>();
      for (FileStatus match : matches) {
        addFiles(fileSystem, match, files);
      }
      TreeSet<InputFormat> formats = new TreeSet<>();
      files.forEach(file -> formats.add(format(file)));
      if (formats.isEmpty()) {
        throw new InputException(
            "input %s: it has no files (those that begin with _ or . do not count)"
                .formatted(options.path()));
      }
      InputFormat format = options.format();
      if (format == InputFormat.AUTO) {
        if (formats.size() > 1) {
          throw new InputException(
              "input %s: it has files of several formats %s; say which with --input-format"
                  .formatted(options.path(), formats.toString().toLowerCase(Locale.ROOT)));
        }
        format = formats.first();
      }
      return new InputFiles(
          root(qualified, matches), format, files.stream().map(Path::toString).toList());
    } catch (IOException e) {
      throw new InputException(
          "input %s: cannot be listed: %s".formatted(options.path(), e.getMessage()), e);
    }
  }

  private static void addFiles(FileSystem fileSystem, FileStatus match, TreeSet<Path> paths)
      throws IOException {
    if (match.isFile()) {
      paths.add(match.getPath());
      return;
    }
    RemoteIterator<LocatedFileStatus> files = fileSystem.listFiles(match.getPath(), true);
    while (files.hasNext()) {
      Path file = files.next().getPath();
      if (!hidden(file, match.getPath())) {
        paths.add(file);
      }
    }
  }

  private static boolean hidden(Path file, Path folder) {
    for (Path part = file; part != null && !part.equals(folder); part = part.getParent()) {
      if (part.getName().startsWith("_") || part.getName().startsWith(".")) {
        return true;
      }
    }
    return false;
  }

  private static InputFormat format(Path file) {
    String name = file.getName().toLowerCase(Locale.ROOT);
    for (String part : name.split("\\.")) {
      // Any part and not only the last one: documents.jsonl.gz is JSON.
      if (BY_ENDING.containsKey(part) && !name.equals(part)) {
        return BY_ENDING.get(part);
      }
    }
    return InputFormat.TEXT;
  }

  /** The folder itself, a file's folder, or what precedes the first wildcard. */
  private static Path root(Path path, FileStatus[] matches) {
    if (matches.length == 1 && matches[0].getPath().equals(path)) {
      return matches[0].isFile() ? path.getParent() : path;
    }
    Path root = path;
    while (root.getParent() != null && hasWildcard(root)) {
      root = root.getParent();
    }
    return root;
  }

  private static boolean hasWildcard(Path path) {
    return Arrays.stream(new String[] {"*", "?", "[", "{"}).anyMatch(path.toString()::contains);
  }
}
