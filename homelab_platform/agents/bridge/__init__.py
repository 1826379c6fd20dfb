"""The bridge from MQTT brokers to the raw bucket."""
