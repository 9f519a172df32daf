package dev.kvfreeze.spark.conf;

/**
 * A setting, option or configuration file that cannot be used; the message names it and the remedy.
 */
public final class ConfigurationException extends RuntimeException {
  public ConfigurationException(String message) {
    super(message);
  }

  public ConfigurationException(String message, Throwable cause) {
    super(message, cause);
  }
}
