"""The stream format: bits, NAL units, parameter sets, SEI messages, payloads. No picture is coded here."""
