package dev.kvfreeze.model.chat;

import com.hubspot.jinjava.el.ext.JinjavaBeanELResolver;
import com.hubspot.jinjava.el.ext.JinjavaListELResolver;
import com.hubspot.jinjava.el.ext.NamedParameter;
import com.hubspot.jinjava.interpret.InterpretException;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.exptest.ExpTest;
import com.hubspot.jinjava.lib.filter.Filter;
import com.hubspot.jinjava.objects.Namespace;
import com.hubspot.jinjava.objects.collections.PyMap;
import com.hubspot.jinjava.util.ForLoop;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import jinjava.javax.el.CompositeELResolver;
import jinjava.javax.el.ELContext;
import jinjava.javax.el.ELResolver;
import jinjava.javax.el.MapELResolver;

/**
 * What a template may do with values: list and map entries, loop variables, and Python's methods of
 * strings and dictionaries. No Java method is reachable.
 */
public final class TemplateValues {
  private TemplateValues() {}

  static ELResolver resolver() {
    CompositeELResolver resolver = new CompositeELResolver();
    resolver.add(new PythonMethods());
    resolver.add(new JinjavaListELResolver(true));
    resolver.add(new MapELResolver(true));
    resolver.add(new LoopVariables());
    return resolver;
  }

  /** The template's own refusal; public because Jinjava calls it by reflection. */
  public static Object raiseException(Object message) {
    throw new InterpretException("the template says: " + message);
  }

  /** {@code namespace(a=1, ...)} with its values unpacked, which Jinjava's own leaves wrapped. */
  public static Object namespace(Object... arguments) {
    Namespace namespace = new Namespace();
    for (Object argument : arguments) {
      if (!(argument instanceof NamedParameter named)) {
        throw new InterpretException("namespace takes named values only");
      }
      namespace.put(named.getName(), named.getValue());
    }
    return namespace;
  }

  /** Python's strip; Jinjava's own filter knows fewer kinds of white space. */
  static final class TrimFilter implements Filter {
    @Override
    public String getName() {
      return "trim";
    }

    @Override
    public Object filter(Object value, JinjavaInterpreter interpreter, String... arguments) {
      return value == null ? "" : stripEnd(stripStart(value.toString(), null), null);
    }
  }

  /** {@code loop.first} and its like. */
  private static final class LoopVariables extends JinjavaBeanELResolver {
    LoopVariables() {
      super(true);
    }

    @Override
    public Object getValue(ELContext context, Object base, Object property) {
      return base instanceof ForLoop ? super.getValue(context, base, property) : null;
    }

    @Override
    public Object invoke(
        ELContext context, Object base, Object method, Class<?>[] types, Object[] parameters) {
      return ownTestOrFilter(base) ? super.invoke(context, base, method, types, parameters) : null;
    }
  }

  /** Jinjava calls the tests and filters of an expression as methods of these objects. */
  private static boolean ownTestOrFilter(Object base) {
    return base instanceof ExpTest || base instanceof Filter;
  }

  private static final class PythonMethods extends MapELResolver {
    @Override
    public Object getValue(ELContext context, Object base, Object property) {
      return null;
    }

    @Override
    public Object invoke(
        ELContext context, Object base, Object method, Class<?>[] types, Object[] parameters) {
      Object[] arguments = parameters == null ? new Object[0] : parameters;
      Object result;
      if (base instanceof CharSequence text) {
        result = ofText(text.toString(), method.toString(), arguments);
      } else if (base instanceof Map<?, ?> map) {
        result = ofMap(map, method.toString(), arguments);
      } else if (ownTestOrFilter(base)) {
        return null;
      } else {
        throw new InterpretException("method " + method + " is not available here");
      }
      context.setPropertyResolved(true);
      return result;
    }
  }

  private static Object ofText(String text, String method, Object[] arguments) {
    String first = arguments.length > 0 && arguments[0] != null ? arguments[0].toString() : null;
    return switch (method) {
      case "strip" -> stripEnd(stripStart(text, first), first);
      case "lstrip" -> stripStart(text, first);
      case "rstrip" -> stripEnd(text, first);
      case "upper" -> text.toUpperCase(Locale.ROOT);
      case "lower" -> text.toLowerCase(Locale.ROOT);
      case "capitalize" ->
          text.isEmpty()
              ? text
              : text.substring(0, 1).toUpperCase(Locale.ROOT)
                  + text.substring(1).toLowerCase(Locale.ROOT);
      case "startswith" -> text.startsWith(required(first, method));
      case "endswith" -> text.endsWith(required(first, method));
      case "split" -> split(text, first);
      case "replace" -> replace(text, required(first, method), arguments);
      default -> throw new InterpretException("strings have no method " + method + " here");
    };
  }

  private static String replace(String text, String from, Object[] arguments) {
    if (from.isEmpty() || arguments.length != 2) {
      throw new InterpretException("replace needs a non-empty text and its replacement");
    }
    String to = String.valueOf(arguments[1]);
    if ((long) text.length() * (to.length() + 1L) > 1L << 28) {
      throw new InterpretException("replace would make a text that is too long");
    }
    return text.replace(from, to);
  }

  private static List<String> split(String text, String separator) {
    if (separator == null) {
      return text.isBlank() ? List.of() : Arrays.asList(text.strip().split("\\s+"));
    }
    if (separator.isEmpty()) {
      throw new InterpretException("split needs a non-empty separator");
    }
    List<String> parts = new ArrayList<>();
    int from = 0;
    for (int at = text.indexOf(separator); at >= 0; at = text.indexOf(separator, from)) {
      parts.add(text.substring(from, at));
      from = at + separator.length();
    }
    parts.add(text.substring(from));
    return parts;
  }

  static String stripStart(String text, String characters) {
    int from = 0;
    while (from < text.length() && stripped(text.charAt(from), characters)) {
      from++;
    }
    return text.substring(from);
  }

  static String stripEnd(String text, String characters) {
    int to = text.length();
    while (to > 0 && stripped(text.charAt(to - 1), characters)) {
      to--;
    }
    return text.substring(0, to);
  }

  /** Python's white space: Java's plus the no-break spaces and NEL. */
  private static boolean stripped(char c, String characters) {
    return characters != null
        ? characters.indexOf(c) >= 0
        : Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
  }

  private static String required(String argument, String method) {
    if (argument == null) {
      throw new InterpretException(method + " needs an argument");
    }
    return argument;
  }

  private static Object ofMap(Map<?, ?> map, String method, Object[] arguments) {
    return switch (method) {
      case "get" -> {
        Object value = arguments.length > 0 ? map.get(String.valueOf(arguments[0])) : null;
        yield value == null && arguments.length > 1 ? arguments[1] : value;
      }
      case "items" -> map instanceof PyMap entries ? entries.items() : map.entrySet();
      case "keys" -> map.keySet();
      case "values" -> map.values();
      default -> throw new InterpretException("mappings have no method " + method + " here");
    };
  }
}
