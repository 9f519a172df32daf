package dev.kvfreeze.spark.conf;

/** Whether the model's chat template makes the prompt. */
public enum TemplateUse {
  /** The model's own template where it has one. */
  AUTO,
  /** The text is the prompt, verbatim; special tokens in it are read as such. */
  NONE
}
