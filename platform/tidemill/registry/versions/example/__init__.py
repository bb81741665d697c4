"""Files shipped with an exported model; they run without Tidemill, which never imports them."""
