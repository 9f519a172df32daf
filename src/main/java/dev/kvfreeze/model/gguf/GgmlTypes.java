package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.tensor.TensorType;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** ggml's tensor type ids: the ones that can be read, and names of the rest for messages. */
final class GgmlTypes {
  private static final Map<Integer, String> UNSUPPORTED =
      Map.ofEntries(
          Map.entry(4, "Q4_2"),
          Map.entry(5, "Q4_3"),
          Map.entry(9, "Q8_1"),
          Map.entry(10, "Q2_K"),
          Map.entry(11, "Q3_K"),
          Map.entry(15, "Q8_K"),
          Map.entry(16, "IQ2_XXS"),
          Map.entry(17, "IQ2_XS"),
          Map.entry(18, "IQ3_XXS"),
          Map.entry(19, "IQ1_S"),
          Map.entry(20, "IQ4_NL"),
          Map.entry(21, "IQ3_S"),
          Map.entry(22, "IQ2_S"),
          Map.entry(23, "IQ4_XS"),
          Map.entry(24, "I8"),
          Map.entry(25, "I16"),
          Map.entry(26, "I32"),
          Map.entry(27, "I64"),
          Map.entry(28, "F64"),
          Map.entry(29, "IQ1_M"),
          Map.entry(34, "TQ1_0"),
          Map.entry(35, "TQ2_0"),
          Map.entry(39, "MXFP4"));

  private GgmlTypes() {}

  static Optional<TensorType> byId(int id) {
    return Arrays.stream(TensorType.values()).filter(type -> type.ggmlId() == id).findFirst();
  }

  /** The name of a type that cannot be read, or the number when it is none of ggml's. */
  static String name(int id) {
    return UNSUPPORTED.getOrDefault(id, "unknown") + " (ggml type " + id + ")";
  }

  static String supported() {
    return Arrays.stream(TensorType.values()).map(Enum::name).collect(Collectors.joining(", "));
  }
}
