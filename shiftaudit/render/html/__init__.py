"""The report as one offline web page. Pure: a record in, text out."""
