package dev.kvfreeze.model.chat;

import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.LegacyOverrides;
import com.hubspot.jinjava.el.JinjavaProcessors;
import com.hubspot.jinjava.interpret.Context.Library;
import com.hubspot.jinjava.interpret.InterpretException;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.interpret.TemplateError;
import com.hubspot.jinjava.lib.Importable;
import com.hubspot.jinjava.lib.fn.ELFunctionDefinition;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A template rendered by Jinjava as Hugging Face's renderer does it (trim_blocks, lstrip_blocks),
 * with only the tags, filters and methods that chat templates use, and within limits of time and
 * size. A template is untrusted: it comes with the model file.
 */
final class JinjaChatTemplate implements ChatTemplate {
  private static final Duration TIME_LIMIT = Duration.ofSeconds(2);
  private static final int MAX_TEMPLATE_CHARACTERS = 1 << 20;
  private static final long MAX_TEMPLATE_OUTPUT = 1 << 20;
  private static final int MAX_LIST = 10_000;

  private static final Set<String> TAGS =
      Set.of("if", "elif", "else", "for", "set", "macro", "break", "continue", "do", "raw");
  private static final Set<String> FILTERS =
      Set.of(
          "trim",
          "upper",
          "lower",
          "capitalize",
          "title",
          "length",
          "count",
          "reverse",
          "join",
          "tojson",
          "first",
          "last",
          "default",
          "d",
          "string",
          "int",
          "list",
          "replace",
          "map",
          "selectattr",
          "rejectattr",
          "safe",
          "items",
          "select",
          "reject");
  private static final Set<String> FUNCTIONS = Set.of("range", ":range", "namespace", ":namespace");

  private static final Map<Library, Set<String>> DISABLED = disabled();

  private final String file;
  private final String source;
  private final String beginText;
  private final String endText;

  JinjaChatTemplate(String file, String source, String beginText, String endText) {
    this.file = file;
    this.source = TemplateSource.forJinjava(source);
    this.beginText = beginText;
    this.endText = endText;
  }

  @Override
  public String render(List<ChatMessage> messages) {
    if (source.length() > MAX_TEMPLATE_CHARACTERS) {
      throw failure(
          "it has "
              + source.length()
              + " characters, at most "
              + MAX_TEMPLATE_CHARACTERS
              + " are allowed",
          null);
    }
    long contents = messages.stream().mapToLong(message -> message.content().length()).sum();
    Map<String, Object> bindings = new HashMap<>();
    bindings.put("messages", messages.stream().map(JinjaChatTemplate::binding).toList());
    bindings.put("bos_token", beginText);
    bindings.put("eos_token", endText);
    bindings.put("add_generation_prompt", true);
    long limit = MAX_TEMPLATE_OUTPUT + 4 * contents;
    RenderResult result;
    try {
      result = jinjava(limit).renderForResult(source, bindings);
    } catch (RuntimeException | StackOverflowError e) {
      throw failure(String.valueOf(e.getMessage()), e);
    }
    for (TemplateError error : result.getErrors()) {
      throw failure(reason(error), error.getException());
    }
    if (result.getOutput().length() > limit) {
      throw failure("it writes more than " + limit + " characters", null);
    }
    return result.getOutput();
  }

  private ChatTemplateException failure(String why, Throwable cause) {
    return new ChatTemplateException(
        file
            + ": the chat template cannot be rendered: "
            + why
            + "; use template none with a prompt of your own, or another model file",
        cause);
  }

  /** Jinjava wraps what a function throws; the innermost message says why. */
  private static String reason(TemplateError error) {
    Throwable cause = error.getException();
    while (cause != null && cause.getCause() != null && cause.getCause() != cause) {
      cause = cause.getCause();
    }
    return cause != null && cause.getMessage() != null
        ? error.getMessage() + " (" + cause.getMessage() + ")"
        : error.getMessage();
  }

  private static Map<String, Object> binding(ChatMessage message) {
    Map<String, Object> binding = new LinkedHashMap<>();
    binding.put("role", message.role());
    binding.put("content", message.content());
    return binding;
  }

  private static Jinjava jinjava(long outputLimit) {
    long deadline = System.nanoTime() + TIME_LIMIT.toNanos();
    JinjavaConfig config =
        JinjavaConfig.newBuilder()
            .withNestedInterpretationEnabled(false)
            .withMaxRenderDepth(20)
            .withEnableRecursiveMacroCalls(false)
            .withMaxOutputSize(outputLimit)
            .withMaxStringLength(outputLimit)
            .withMaxListSize(MAX_LIST)
            .withMaxMapSize(MAX_LIST)
            .withRangeLimit(MAX_LIST)
            .withElResolver(TemplateValues.resolver())
            .withDisabled(DISABLED)
            .withLegacyOverrides(
                LegacyOverrides.newBuilder()
                    .withIterateOverMapKeys(true)
                    .withUsePyishObjectMapper(true)
                    .build())
            .withProcessors(
                JinjavaProcessors.newBuilder()
                    .withNodePreProcessor((node, interpreter) -> requireTime(deadline))
                    .build())
            .build();
    Jinjava jinjava = new Jinjava(config);
    jinjava.setResourceLocator(
        (name, encoding, interpreter) -> {
          throw new InterpretException("a chat template may not include " + name);
        });
    jinjava
        .getGlobalContext()
        .registerFunction(
            new ELFunctionDefinition(
                "", "raise_exception", TemplateValues.class, "raiseException", Object.class));
    jinjava
        .getGlobalContext()
        .registerFunction(
            new ELFunctionDefinition(
                "", "namespace", TemplateValues.class, "namespace", Object[].class));
    jinjava.getGlobalContext().registerFilter(new TemplateValues.TrimFilter());
    return jinjava;
  }

  private static void requireTime(long deadline) {
    if (System.nanoTime() > deadline) {
      throw new TimeLimitException();
    }
  }

  private static final class TimeLimitException extends RuntimeException {
    TimeLimitException() {
      super("it takes more than " + TIME_LIMIT.toSeconds() + " s");
    }
  }

  private static Map<Library, Set<String>> disabled() {
    var context = new Jinjava().getGlobalContext();
    return Map.of(
        Library.TAG, allBut(context.getAllTags(), TAGS),
        Library.FILTER, allBut(context.getAllFilters(), FILTERS),
        Library.FUNCTION, allBut(context.getAllFunctions(), FUNCTIONS));
  }

  private static Set<String> allBut(Collection<? extends Importable> all, Set<String> kept) {
    return all.stream()
        .map(Importable::getName)
        .filter(name -> !kept.contains(name.startsWith("end") ? name.substring(3) : name))
        .collect(Collectors.toUnmodifiableSet());
  }
}
